"""An appliance with one adapter merged must answer exactly as the folder that routes both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgephi import Model, SamplingOptions
from edgephi.inspection.samples import Sample, read_samples
from edgephi_export import ExportOptions, export

NANO = Path(__file__).parents[2] / "nano"
SAMPLES = NANO / "samples"
#: The merged folder that serves each mode; text needs one without adapters.
_MERGED = {"text": "none", "speech": "speech", "vision": "vision", "vision_speech": "vision"}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Model]]:
    folder = tmp_path_factory.mktemp("nano")
    loaded = {
        mode: Model.load(export(NANO / "checkpoint", folder / mode, ExportOptions(recipe="fp32", adapters=mode)))
        for mode in ("routed", "none", "speech", "vision")
    }
    yield loaded
    for model in loaded.values():
        model.close()


def _token_ids(model: Model, sample: Sample) -> tuple[int, ...]:
    return model.generate(
        sample.messages(),
        images=[SAMPLES / sample.image] if sample.image else [],
        audio=[SAMPLES / sample.audio] if sample.audio else [],
        options=SamplingOptions(max_new_tokens=64, speculation=False),
    ).token_ids


def _logits(model: Model, sample: Sample, token_ids: tuple[int, ...]) -> np.ndarray:
    """Of every position of the media and the reply."""
    tokens = model.manifest.tokens
    slots = [tokens.image] * bool(sample.image) + [tokens.audio] * bool(sample.audio)
    return model.logits(
        [*(slot for slot in slots if slot is not None), *token_ids],
        images=[SAMPLES / sample.image] if sample.image else [],
        audio=[SAMPLES / sample.audio] if sample.audio else [],
        rows="all",
    )


@pytest.mark.parametrize("sample", read_samples(SAMPLES), ids=lambda s: s.audio or s.image or s.prompt)
def test_merged_answers_as_routed(models: dict[str, Model], sample: Sample):
    routed, merged = models["routed"], models[_MERGED[sample.mode]]
    token_ids = _token_ids(routed, sample)
    assert _token_ids(merged, sample) == token_ids
    expected, found = _logits(routed, sample, token_ids), _logits(merged, sample, token_ids)
    assert np.abs(found - expected).max() < 1e-3 * expected.std()
