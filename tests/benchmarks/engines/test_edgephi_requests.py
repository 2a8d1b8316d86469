"""Requests that are measured: stages that add up, and facts of media by the public calls alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgephi import DoneEvent, ModelOptions, Reply, TextEvent, Timing, TokenEvent
from edgephi.bundle.bundle import TOKENIZER_NAME, Bundle
from edgephi.generation.reply import Choice
from edgephi.media.processor import MediaProcessor
from edgephi.ort.session import DeviceOptions
from edgephi.prompt.tokenizer import Tokenizer
from edgephi_bench.engines.workers import edgephi_requests
from edgephi_bench.engines.workers.edgephi_requests import WORDS, RequestEngine
from edgephi_bench.measure.text_tokens import text_tokens
from support.bundles import small_bundle


@pytest.mark.parametrize(
    ("media", "adapters"),
    [
        ({"audio_s": 3.3}, None), ({"image": [300, 90]}, None), ({"audio_s": 0.4}, "speech"),
        ({"image": [64, 64]}, "vision"),
    ],
)  # fmt: skip
def test_rows_and_crops_are_those_that_the_runtime_counts(media: dict[str, Any], adapters: str | None) -> None:
    """A wrong number would make `tokens per image` and `encode per crop` wrong, and nobody could see it."""
    bundle = Bundle(small_bundle(adapters=adapters))
    processor = MediaProcessor(bundle, DeviceOptions(threads=1))
    engine = RequestEngine(str(bundle.path), ModelOptions(threads=1, kv_cache="float"))
    for _ in range(2):
        answer = engine.request(media, 1, 2)
        rows = engine.media_tokens(media)
        given = engine._media(media)
        (item,) = processor.prepare(given.get("images", ()), given.get("audio", ()))
        assert (rows, answer["encoder_steps"]) == (item.num_rows, processor.num_steps(item))


def test_waiting_and_loading_are_no_part_of_choosing_the_first_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first request with media loads adapters: as `first token chosen` a user would look for it in the sampler."""
    timing = Timing(
        prompt_tokens=9, cached_tokens=0, new_tokens=3, queue_s=1.0, load_s=2.0, preprocess_s=0.1, encode_s=0.2,
        prefill_s=0.3, ttft_s=3.65, decode_s=0.4, peak_rss_bytes=1,
    )  # fmt: skip
    clock = iter([103.65, 103.9, 104.0, 104.7])
    monkeypatch.setattr(edgephi_requests.time, "perf_counter", lambda: next(clock))
    answer = edgephi_requests._Answer(began_s=100.0)
    reply = Reply(text="ab", token_ids=(1, 2, 3), finish_reason="length", tool_calls=(), timing=timing)
    events = [
        TokenEvent(Choice(1), 0),
        TextEvent("a"),
        TokenEvent(Choice(2), 1),
        TokenEvent(Choice(3), 2),
        TextEvent("b"),
    ]
    for event in [*events, DoneEvent(reply)]:
        answer.take(event)
    stages = answer.stages()
    assert stages["first_token"] == pytest.approx(0.05)
    assert stages["steps"] == pytest.approx([0.25, 0.1])
    assert stages["end_to_end"] == pytest.approx(4.7)
    known = ("preprocess", "encode", "prefill", "first_token")
    assert sum(stages[name] for name in known) + 3.0 == pytest.approx(stages["ttft"])


def test_plain_text_has_the_ids_that_the_runtime_gives_it() -> None:
    bundle = Bundle(small_bundle())
    text = WORDS + " <|end|>"[:4]
    assert text_tokens(bundle, text) == list(Tokenizer.load(bundle.file(TOKENIZER_NAME)).encode_text(text))


def test_noise_differs_from_request_to_request() -> None:
    """Equal media would be answered by the cache, and encoding would cost nothing."""
    engine = RequestEngine(str(small_bundle()), ModelOptions(threads=1, kv_cache="float"))
    first = engine._media({"image": [8, 8]})["images"][0]
    engine._count += 1
    assert not np.array_equal(first, engine._media({"image": [8, 8]})["images"][0])


def test_detokenizing_reads_every_token_of_a_reply(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = RequestEngine(str(small_bundle()), ModelOptions(threads=1, kv_cache="float"))
    asked: list[int] = []
    token_bytes = engine._model.token_bytes
    monkeypatch.setattr(
        engine._model, "token_bytes", lambda token_id: (asked.append(token_id), token_bytes(token_id))[1]
    )
    token_ids = engine.request({}, 1, 5)["token_ids"]
    assert len(token_ids) == 5
    asked.clear()
    assert engine.detokenize(list(token_ids)) > 0
    assert asked == list(token_ids)
