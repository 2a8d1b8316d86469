"""How loud an utterance is: raised by what came before it, and all of it by as much."""

from __future__ import annotations

import numpy as np
import pytest

from edgephi.transcription.live.utterances import Utterance, UtteranceCutter
from edgephi.transcription.windows import WindowRules

FRAME = 512


def _tone(seconds: float, level_db: float) -> np.ndarray:
    wave = np.resize(np.array([1.0, -1.0]), round(seconds * 16_000 / FRAME) * FRAME)
    return (10 ** (level_db / 20) * wave).astype(np.float32)


def test_an_utterance_that_becomes_loud_is_raised_as_at_its_beginning():
    """Its partial captions would be read from other audio than its final one."""
    cutter = UtteranceCutter(16_000, WindowRules(), lambda chunk: float(np.abs(chunk).max() > 1e-3))
    silence, quiet = _tone(2.0, -80.0), _tone(2.0, -50.0)
    list(cutter.push(np.concatenate([silence, quiet, silence, quiet])))
    opened = cutter.open()
    assert opened is not None
    assert 20 * np.log10(opened.window.frames[0].gain) == pytest.approx(14.0, abs=0.5)  # from -50 to -36 dB
    list(cutter.push(_tone(2.0, -20.0)))
    (ended,) = cutter.flush()
    assert isinstance(ended, Utterance)
    assert ended.number == opened.number == 1
    assert {frame.gain for frame in ended.window.frames} == {opened.window.frames[0].gain}
