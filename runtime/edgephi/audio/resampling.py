"""The same audio at another rate."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import soxr
from numpy.typing import NDArray


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
    resampler = soxr.ResampleStream(hertz, target_hertz, num_channels or 1, dtype="float32")
    for block in blocks:
        yield resampler.resample_chunk(block)
    nothing = np.empty(0 if num_channels is None else (0, num_channels), np.float32)
    yield resampler.resample_chunk(nothing, last=True)
