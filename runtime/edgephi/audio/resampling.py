"""The same audio at another rate."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import soxr
from numpy.typing import NDArray


class Resampler:
    """Audio that arrives piece by piece, at another rate: where it is cut changes no sample.

    Args:
        hertz: Its rate.
        target_hertz: The rate of what is returned; the pieces are returned as they are where it is the same.
        num_channels: None for pieces [n].
    """

    def __init__(self, hertz: int, target_hertz: int, num_channels: int | None = None) -> None:
        self._nothing = np.empty(0 if num_channels is None else (0, num_channels), np.float32)
        self._stream = None
        if hertz != target_hertz:
            self._stream = soxr.ResampleStream(hertz, target_hertz, num_channels or 1, dtype="float32")

    def push(self, piece: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 [n] or [n, num_channels], all that is certain by now: some samples come with a later piece."""
        if self._stream is None:
            return piece
        made: NDArray[np.float32] = self._stream.resample_chunk(piece)
        return made

    def end(self) -> NDArray[np.float32]:
        """The samples that were held back. Nothing may be pushed after it."""
        if self._stream is None:
            return self._nothing
        made: NDArray[np.float32] = self._stream.resample_chunk(self._nothing, last=True)
        return made


def resampled(
    blocks: Iterator[NDArray[np.float32]], hertz: int, target_hertz: int, num_channels: int | None = None
) -> Iterator[NDArray[np.float32]]:
    """Blocks at another rate, as if they were one piece; their ends move.

    Args:
        blocks: float32 [n], or [n, num_channels].
        hertz: Their rate.
        target_hertz: The rate of what is yielded.
        num_channels: None for blocks [n].
    """
    if hertz == target_hertz:
        yield from blocks
        return
    resampler = Resampler(hertz, target_hertz, num_channels)
    for block in blocks:
        yield resampler.push(block)
    yield resampler.end()
