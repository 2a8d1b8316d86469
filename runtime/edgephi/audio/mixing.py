"""Channels become one, block by block, and samples that cannot be audio are refused."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from edgephi.base.errors import ConfigError

_MAX_PEAK = 32.0


def mono(
    blocks: Iterator[NDArray[np.floating]], name: str, weights: NDArray[np.float64] | None = None
) -> Iterator[NDArray[np.float32]]:
    """One channel out of several, block by block.

    Args:
        blocks: float32 or float64 [n, channels] each.
        name: Of the source, for messages.
        weights: float64 [channels], what each channel is multiplied by in the sum; None for the average.

    Raises:
        ConfigError: NaN, infinite or far too loud samples in any channel, or no samples at all.
    """
    count = 0
    for block in checked(blocks, name):
        count += len(block)
        shares = np.full(block.shape[1], 1 / block.shape[1]) if weights is None else weights
        yield (block @ shares.astype(block.dtype)).astype(np.float32)
    if count == 0:
        raise ConfigError(f"{name}: holds no samples; record it again, or copy it again if it should hold some")


def checked(blocks: Iterator[NDArray[np.floating]], name: str) -> Iterator[NDArray[np.floating]]:
    """The same blocks, without empty ones; raises ConfigError before one that cannot be audio."""
    count = 0
    for block in filter(len, blocks):  # a short part may give none before the resampler's end
        _check_values(block, count, name)
        count += len(block)
        yield block


def _check_values(block: NDArray[np.floating], start: int, name: str) -> None:
    peak = max(float(block.max()), -float(block.min()))
    if peak <= _MAX_PEAK:
        return
    if not np.isfinite(block).all():
        row, channel = np.argwhere(~np.isfinite(block))[0]
        raise ConfigError(
            f"{name}: sample {start + row:,} is {block[row, channel]}; samples must be finite: repair or re-record it"
        )
    raise ConfigError(
        f"{name}: peak is {peak:,.6g}; full scale is 1.0 and the limit {_MAX_PEAK:.0f}: "
        "divide 16-bit samples by 32768 or pass them as int16, or copy a damaged file again"
    )
