"""Random bfloat16 values, as fast as a disk takes them.

The block is drawn once and every tensor repeats it, scaled, from a place that depends on its name. Its length is a
prime, so the rows of a tensor start at different places and no two are equal; but they are shifted copies of each
other, which is enough for measuring and for block-wise quantization and too little for statistics across rows.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from edgephi_bench.synthetic.tensors import TensorSpec

#: 8.4 MB as bfloat16.
BLOCK_VALUES = 4_194_301


class ValueSource:
    """Values for any number of tensors. The same seed, name and shape give the same values under one NumPy version."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._block = np.random.default_rng(seed).standard_normal(BLOCK_VALUES, dtype=np.float32)

    def parts(self, tensor: TensorSpec) -> Iterator[NDArray[np.uint16]]:
        """The tensor's bfloat16 bits in order, uint16 [n] each, at most one block at a time."""
        start = self._start(tensor.name)
        left = tensor.num_values
        if left <= BLOCK_VALUES:  # mostly much smaller: only what is needed is scaled
            tail = self._block[start : start + left]
            yield self._scaled(np.concatenate((tail, self._block[: left - tail.size])), tensor)
            return
        block = self._scaled(self._block, tensor)
        while left:
            part = block[start : start + left]
            yield part
            left, start = left - part.size, 0

    def _start(self, name: str) -> int:
        return int(np.random.PCG64([self._seed, zlib.crc32(name.encode())]).random_raw() % BLOCK_VALUES)

    @staticmethod
    def _scaled(block: NDArray[np.float32], tensor: TensorSpec) -> NDArray[np.uint16]:
        scaled = block * np.float32(tensor.deviation)
        scaled += np.float32(tensor.mean)
        return scaled.astype(ml_dtypes.bfloat16).view(np.uint16)
