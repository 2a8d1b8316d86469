"""The bundled checkpoint must hear, see and answer through the product, and must need its adapters to do so.

These are the demo's samples; `make accuracy` measures hundreds of held-out items of each kind.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edgephi import Model, SamplingOptions
from edgephi.inspection.samples import Sample, read_samples
from edgephi_export import export

NANO = Path(__file__).parents[2] / "nano"
SAMPLES = NANO / "samples"
MOST_BYTES = 16_000_000
_ALL = read_samples(SAMPLES)
# One colour or shape of a handful can be right by chance; words and numbers cannot.
_NOT_BY_CHANCE = [s for s in _ALL if s.mode == "speech" or s.expected.isupper() or s.expected.isdigit()]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    with Model.load(export(NANO / "checkpoint", tmp_path_factory.mktemp("nano") / "model")) as loaded:
        yield loaded


def _ask(model: Model, sample: Sample, **keywords: object):
    return model.generate(
        sample.messages(),
        images=[SAMPLES / sample.image] if sample.image else [],
        audio=[SAMPLES / sample.audio] if sample.audio else [],
        options=SamplingOptions(max_new_tokens=64),
        **keywords,
    )


def _name(sample: Sample) -> str:
    return sample.audio or sample.image or sample.prompt


@pytest.mark.parametrize("sample", _ALL, ids=_name)
def test_every_bundled_sample_is_answered_right(model: Model, sample: Sample):
    reply = _ask(model, sample)
    assert sample.is_right(reply), reply.text
    assert reply.finish_reason == "stop"


@pytest.mark.parametrize("sample", _NOT_BY_CHANCE, ids=_name)
def test_without_its_adapter_the_model_takes_neither_audio_nor_images(model: Model, sample: Sample):
    """A runtime that silently leaves the adapters off would fail the test above; this one proves that they matter."""
    assert not sample.is_right(_ask(model, sample, adapter="none"))


@pytest.mark.parametrize("sample", [s for s in _ALL if s.mode == "speech"], ids=_name)
def test_the_wrong_adapter_does_not_transcribe(model: Model, sample: Sample):
    assert not sample.is_right(_ask(model, sample, adapter="vision"))


def test_all_modes_are_among_the_samples():
    assert {sample.mode for sample in _ALL} == {"text", "speech", "vision", "vision_speech"}
    assert {sample.mode for sample in _NOT_BY_CHANCE} == {"speech", "vision", "vision_speech"}


def test_the_checkpoint_stays_small():
    """It is cloned with the repository."""
    size = sum(path.stat().st_size for path in (NANO / "checkpoint").rglob("*") if path.is_file())
    assert size <= MOST_BYTES
