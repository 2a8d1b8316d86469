"""Signals at random moments: the right exit code, what is complete, no traceback, nothing left over."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from support.bundles import small_bundle
from support.signal_tries import Scene, scenes, tries

_SENTENCE = Path(__file__).parents[3] / "nano" / "samples" / "sentence.wav"


def _scenes(folder: Path) -> list[Scene]:
    samples, hertz = soundfile.read(_SENTENCE)
    recording = folder / "talk.wav"
    soundfile.write(recording, np.concatenate([np.append(samples, np.zeros(hertz))] * 2), hertz)
    return scenes(str(small_bundle()), small_bundle(), recording)


def test_a_signal_at_any_moment_ends_a_command_in_order(tmp_path: Path):
    found = tries(_scenes(tmp_path), 24, seed=1)  # each command twice with each signal
    assert sum(found.values()) == 24


@pytest.mark.slow
def test_a_thousand_signals_end_commands_in_order(tmp_path: Path):
    """Prints how they ended; a signal before Python has loaded our first line is answered by Python itself."""
    found = tries(_scenes(tmp_path), 1000, seed=2)
    print("\n".join(f"{count:5} {words}" for words, count in sorted(found.items())))
    early = sum(count for words, count in found.items() if words.endswith("before our first line"))
    assert early < 150
