"""How much a quiet recording is raised before it is transcribed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_WANTED_DB = -36.0  # of the loudest half second; below, the detector and then the model begin to miss words
_NOISE_DB = -45.0  # noise is raised no higher
_MOST_DB = 60.0
_LOUDEST_FRAMES = 16
_LOUDEST_SHARE = 0.002  # of all frames: a few claps do not make an hour loud
_NOISE_SHARE = 0.15
_LOWEST_DB, _STEPS_PER_DB = -110, 2


class Leveling:
    """Keeps count of a recording's loudness, and gives the factor to raise it by.

    It is given the next minute, and keeps count of all minutes before.
    """

    def __init__(self) -> None:
        self._counts = np.zeros(150 * _STEPS_PER_DB, np.int64)

    def gain(self, frames: NDArray[np.float32], least_range_db: float | None = None) -> float:
        """At least 1.0, for these frames [n, samples], the next of the recording.

        Args:
            frames: float32.
            least_range_db: Raise nothing while the loudest half second is not so much louder than the noise; None to
                raise even a recording that has only noise so far.
        """
        spread = frames.std(axis=1, dtype=np.float64)  # a constant is silence
        levels = (20 * np.log10(np.maximum(spread, 1e-6)) - _LOWEST_DB) * _STEPS_PER_DB
        steps = np.clip(levels, 0, len(self._counts) - 1).astype(np.int64)
        self._counts += np.bincount(steps, minlength=len(self._counts))
        counts = self._counts[1:]  # without digital silence
        total = int(counts.sum())
        if total == 0:
            return 1.0
        loudest = self._level(total - max(_LOUDEST_FRAMES, _LOUDEST_SHARE * total))
        noise = self._level(_NOISE_SHARE * total)
        if least_range_db is not None and loudest - noise < least_range_db:
            return 1.0
        gain_db = min(_WANTED_DB - loudest, _NOISE_DB - noise, _MOST_DB)
        return float(10 ** (max(gain_db, 0.0) / 20))

    def _level(self, rank: float) -> float:
        """Decibels that so many frames stay below."""
        index = int(np.searchsorted(self._counts[1:].cumsum(), rank, side="right"))
        return _LOWEST_DB + (index + 1) / _STEPS_PER_DB
