"""How loud the channels of a recording, and mixes of them, are in every band at every moment."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

#: Signals are held as bytes, in steps of half a decibel over -110 dB.
STEPS_PER_DB = 2
_LOWEST_DB = -110
_FRAME_S = 0.064  # about: a power of two of samples
#: Hertz. Eight bands of two thirds of an octave, which hold what distinguishes words.
_EDGES_HZ = (150, 240, 390, 630, 1020, 1650, 2670, 4320, 7000)
NUM_BANDS = len(_EDGES_HZ) - 1
_BATCH_VALUES = 1 << 18
_MOST_BYTES = 64 << 20  # a day of stereo, four hours of 32 channels; what comes later is not measured


class ChannelLevels:
    """Takes a recording's blocks; how they were cut makes no difference, not even in rounding.

    Args:
        hertz: Sampling rate.
        mixes: float64 [M, K], the weights of K channels in each of M mixes to be measured beside them.
    """

    def __init__(self, hertz: int, mixes: NDArray[np.float64]) -> None:
        self._mixes = mixes.astype(np.complex64)
        num_mixes, num_channels = mixes.shape
        self._size = 1 << round(np.log2(_FRAME_S * hertz))
        self._batch = max(1, _BATCH_VALUES // (self._size * num_channels)) * self._size
        self._window = (4 / self._size * np.hanning(self._size)).astype(np.float32)  # a full-scale sine: 0 dB
        bins = np.searchsorted(np.fft.rfftfreq(self._size, 1 / hertz), _EDGES_HZ)
        self._bins = np.minimum(bins, self._size // 2)
        self._most = _MOST_BYTES // (NUM_BANDS * (num_channels + num_mixes))
        self._waiting: list[NDArray[np.float32]] = []
        self._num_waiting = 0
        self._parts: list[NDArray[np.uint8]] = []
        self._num_frames = 0

    def push(self, block: NDArray[np.floating]) -> None:
        """Add samples, [n, K]. Finite."""
        self._waiting.append(block.astype(np.float32, copy=False))
        self._num_waiting += len(block)
        if self._num_waiting < self._batch:
            return
        joined = np.concatenate(self._waiting)
        whole = len(joined) - len(joined) % self._batch
        for start in range(0, whole, self._batch):
            self._measure(joined[start : start + self._batch])
        self._waiting, self._num_waiting = [joined[whole:]], len(joined) - whole

    @property
    def is_empty(self) -> bool:
        """Whether no sample was added."""
        return self._num_waiting == self._num_frames == 0

    def bands(self) -> Iterator[NDArray[np.uint8]]:
        """Levels in each band, uint8 [T, K + M], the channels first. Ends the measuring."""
        if self._num_waiting:
            rest = np.concatenate(self._waiting)
            missing = -len(rest) % self._size
            self._measure(np.pad(rest, ((0, missing), (0, 0))))
            self._waiting, self._num_waiting = [], 0
        for band in range(NUM_BANDS):
            if self._bins[band] < self._bins[band + 1]:  # not above half the sampling rate
                yield np.concatenate([part[:, band] for part in self._parts])

    def _measure(self, samples: NDArray[np.float32]) -> None:
        if self._num_frames >= self._most:
            return
        frames = np.ascontiguousarray(samples.T).reshape(samples.shape[1], -1, self._size)
        spectra = np.fft.rfft(frames * self._window)[:, :, self._bins[0] : self._bins[-1]]
        powers = [self._powers(spectra), self._powers(np.tensordot(self._mixes, spectra, 1))]
        levels = 10 * np.log10(np.maximum(np.concatenate(powers), 1e-20)) - _LOWEST_DB
        steps = np.clip(np.rint(levels * STEPS_PER_DB), 0, 255).astype(np.uint8)
        self._parts.append(np.moveaxis(steps, 0, 2))
        self._num_frames += frames.shape[1]

    def _powers(self, spectra: NDArray[np.complexfloating]) -> NDArray[np.float32]:
        """[signals, T, bins] -> float32 [signals, T, bands]."""
        power = np.square(spectra.real) + np.square(spectra.imag)
        bins = self._bins - self._bins[0]
        sums = [power[..., low:high].sum(axis=-1) for low, high in itertools.pairwise(bins)]
        return np.stack(sums, axis=-1).astype(np.float32)
