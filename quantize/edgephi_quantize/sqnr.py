"""How far stored weights are from the original: signal-to-quantization-noise ratio.

SQNR = 10 log10( sum of squared references / sum of squared differences )     6.02 dB are one bit
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

_CHUNK = 8192  # values turned to float64 at a time: in cache, and too few for BLAS to wake its threads


class SqnrMeter:
    """Adds up pairs of arrays, in float64."""

    def __init__(self) -> None:
        self._signal = 0.0
        self._noise = 0.0

    def add(self, reference: NDArray[np.floating], stored: NDArray[np.floating]) -> None:
        """Count these values in.

        Args:
            reference: Any float type and shape.
            stored: The same shape.

        Raises:
            ValueError: The shapes differ.
        """
        if reference.shape != stored.shape:
            raise ValueError(f"reference {list(reference.shape)} and stored {list(stored.shape)} differ in shape")
        left, right = reference.reshape(-1), stored.reshape(-1)
        for start in range(0, left.size, _CHUNK):
            wide = left[start : start + _CHUNK].astype(np.float64)
            self._signal += float(wide @ wide)
            wide -= right[start : start + _CHUNK]
            self._noise += float(wide @ wide)

    def merge(self, other: SqnrMeter) -> None:
        """Count in what another one has counted."""
        self._signal += other._signal
        self._noise += other._noise

    @property
    def decibels(self) -> float:
        """The ratio so far.

        inf when all is equal or nothing was added, -inf when only the references are all zero or a stored value is
        infinite, NaN when one is not a number.
        """
        if self._noise == 0.0:
            return math.inf
        if self._signal == 0.0 or math.isinf(self._noise):
            return -math.inf
        return 10.0 * math.log10(self._signal / self._noise)
