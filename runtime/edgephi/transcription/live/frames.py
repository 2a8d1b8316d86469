"""Frames of audio that comes in pieces of any length."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from edgephi.audio.limits import check_rate
from edgephi.audio.log_mel import NARROW_RATE_HZ, SAMPLE_RATE_HZ
from edgephi.audio.resampling import Resampler
from edgephi.transcription.speech import DETECTED_SAMPLES, FRAME_S


class LiveFrames:
    """Cuts audio into frames, each as the model takes it and as the detector does; the same as of a whole recording.

    Args:
        sample_rate_hz: Of what is pushed, from 8,000 up.

    Attributes:
        sample_rate_hz: Of the frames: 16000, or 8000 for telephone speech, which the model takes as it is.

    Raises:
        ConfigError: A rate that the model cannot take.
    """

    def __init__(self, sample_rate_hz: int) -> None:
        check_rate(sample_rate_hz, "live audio")
        self._given_hz = sample_rate_hz
        self.sample_rate_hz = NARROW_RATE_HZ if sample_rate_hz == NARROW_RATE_HZ else SAMPLE_RATE_HZ
        self.restart()

    def restart(self) -> None:
        """Take what is pushed from now on as new audio; what is no whole frame yet is thrown away."""
        self._own = Resampler(self._given_hz, self.sample_rate_hz)
        self._wide = Resampler(self.sample_rate_hz, SAMPLE_RATE_HZ)
        self._samples = _Chunks(round(FRAME_S * self.sample_rate_hz))
        self._detected = _Chunks(DETECTED_SAMPLES)

    def push(self, samples: NDArray[np.float32]) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """The frames that are whole by now.

        Args:
            samples: float32 [n], mono, full scale 1.0. Not modified.

        Yields:
            float32 [256 or 512] for the model, float32 [512] for the detector.
        """
        self._add(self._own.push(samples))
        while self._samples.has_chunk and self._detected.has_chunk:
            yield self._samples.take(), self._detected.take()

    def end(self) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """The frames that are left; the last may have fewer samples for the model. Nothing may be pushed after it
        before `restart`.
        """
        self._add(self._own.end())
        self._detected.add(self._wide.end())
        while len(samples := self._samples.take()):
            chunk = self._detected.take()  # resampling rounds: it may have ended sooner
            yield samples, np.pad(chunk, (0, DETECTED_SAMPLES - len(chunk)))

    def _add(self, samples: NDArray[np.float32]) -> None:
        self._samples.add(samples)
        self._detected.add(self._wide.push(samples))


class _Chunks:
    """Samples, taken out in pieces of one length."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._rest = np.empty(0, np.float32)

    @property
    def has_chunk(self) -> bool:
        return len(self._rest) >= self._size

    def add(self, samples: NDArray[np.float32]) -> None:
        self._rest = np.concatenate([self._rest, samples])

    def take(self) -> NDArray[np.float32]:
        """As many as there are where a whole piece is not left."""
        chunk, self._rest = self._rest[: self._size], self._rest[self._size :]
        return chunk
