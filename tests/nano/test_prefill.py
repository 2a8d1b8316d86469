"""With prompts read by the graph for prefill the bundled checkpoint must still hear, see and answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgephi import Model, SamplingOptions
from edgephi.inspection.samples import Sample, read_samples
from edgephi_export import ExportOptions, export
from support.prompts import build_prompt

NANO = Path(__file__).parents[2] / "nano"
SAMPLES = NANO / "samples"
_ALL = read_samples(SAMPLES)
#: Nats: 0.0001 was measured with either kind of weights, and as much between either and float32.
_MOST_KL = 0.001


@pytest.fixture(scope="module", params=["int8", "derived"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Model, Model]]:
    """One folder twice: without the graph for prefill, and with it for every prompt."""
    place = tmp_path_factory.mktemp("nano")
    folder = export(NANO / "checkpoint", place / "m", ExportOptions(prefill=request.param, method="rtn"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(place / "cache"))
        with Model.load(folder, prefill="off") as own, Model.load(folder, prefill_threshold=1) as prefill:
            yield own, prefill


def _media(sample: Sample) -> dict[str, list[str]]:
    return {
        "images": [str(SAMPLES / sample.image)] if sample.image else [],
        "audio": [str(SAMPLES / sample.audio)] if sample.audio else [],
    }


@pytest.mark.parametrize("sample", _ALL, ids=lambda sample: sample.title)
def test_every_bundled_sample_is_answered_right_and_the_same_twice_and_with_drafts(
    pair: tuple[Model, Model], sample: Sample
):
    replies = [
        pair[1].generate(sample.messages(), options=SamplingOptions(speculation=is_drafted), **_media(sample))
        for is_drafted in (False, False, True)
    ]
    assert sample.is_right(replies[0])
    assert len({reply.token_ids for reply in replies}) == 1


def test_the_next_tokens_are_as_likely_as_the_decoders_own_graph_says(pair: tuple[Model, Model]):
    """Mean Kullback-Leibler divergence over all modes, at the first token of each answer."""
    divergences = []
    for sample in _ALL:
        prompt = build_prompt(pair[0]._prefill._prompts, sample.messages(), **_media(sample))
        media = {"images": prompt.images, "audio": prompt.audio}
        own, found = (_log_softmax(model.logits(prompt.token_ids, **media)) for model in pair)
        assert not np.array_equal(own, found)
        divergences.append(float((np.exp(own) * (own - found)).sum()))
    assert np.mean(divergences) < _MOST_KL


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits.astype(np.float64) - logits.max()
    return shifted - np.log(np.exp(shifted).sum())
