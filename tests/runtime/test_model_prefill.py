"""Replies of a folder with a graph for prefill: the same tokens, whatever was read before and by which graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgephi import Model, SamplingOptions
from edgephi.decoder.crossover import NEVER
from support.bundles import small_bundle
from support.signals import random_audio, random_image

IMAGE, AUDIO = random_image("prefill", 120, 70), (random_audio("prefill", 2.0, 16000), 16000)
MEDIA: dict[str, dict[str, list[Any]]] = {
    "text": {},
    "speech": {"audio": [AUDIO]},
    "vision": {"images": [IMAGE]},
    "vision_speech": {"images": [IMAGE], "audio": [AUDIO]},
}
TEXT = "one two three " * 20
GREEDY = SamplingOptions(max_new_tokens=16, temperature=0.0)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def _load(threshold: int = 16, **options: Any) -> Model:
    """With int8 keys and values, whose attention gives equal bits however a prompt is cut."""
    folder = small_bundle(recipe="int4", kv_cache="int8", prefill="int8")
    return Model.load(folder, threads=1, prefill_threshold=threshold, **options)


def _reads_by_prefill(model: Model) -> bool:
    return model._decoder is not None and model._decoder._prefill.session is not None


@pytest.mark.parametrize("mode", MEDIA)
def test_every_mode_gives_the_same_tokens_in_another_run_and_in_other_chunks(mode: str):
    with _load() as model:
        expected = model.generate(TEXT, **MEDIA[mode], options=GREEDY).token_ids
        assert _reads_by_prefill(model)
    with _load(chunk=9) as model:
        assert model.generate(TEXT, **MEDIA[mode], options=GREEDY).token_ids == expected
        assert model.generate(TEXT, **MEDIA[mode], options=GREEDY).token_ids == expected  # from the prefix cache


def test_a_request_that_was_stopped_while_its_prompt_was_read_gives_the_same_tokens_when_asked_again():
    with _load() as model:
        expected = model.generate(TEXT, options=GREEDY).token_ids
    with _load(chunk=9) as model:
        left = iter(range(6))
        stopped = model.generate(TEXT, options=GREEDY, should_stop=lambda: next(left, None) is None)
        assert stopped.token_ids == ()
        again = model.generate(TEXT, options=GREEDY)
        assert again.token_ids == expected
        assert 0 < again.timing.cached_tokens < again.timing.prompt_tokens - 1


@pytest.mark.parametrize("thresholds", [(16, NEVER), (NEVER, 16)])
def test_a_prefix_that_one_graph_read_is_continued_where_the_other_would_have_read_it(
    tmp_path: Path, thresholds: tuple[int, int]
):
    """A prefix is made on one device and used on others, whose thresholds differ."""
    chat, question = [{"role": "system", "content": TEXT}], {"role": "user", "content": "and?"}
    saver, user = thresholds
    with _load(saver) as model:
        saved = model.save_prefix(chat, tmp_path / "prefix")
        expected = model.generate([*chat, question], options=GREEDY)
        assert _reads_by_prefill(model) == (saver != NEVER)
    with _load(user) as model:
        assert model.load_prefix(tmp_path / "prefix") == saved
        found = model.generate([*chat, question], options=GREEDY)
        assert found.token_ids == expected.token_ids
        assert found.timing.cached_tokens == expected.timing.cached_tokens >= saved - 1
        assert not _reads_by_prefill(model)
