"""Random arrays that are the same on every machine and with every NumPy version.

The generator gives raw 64-bit words of PCG64, whose stream NumPy promises to keep (unlike that of its distributions),
turned into uniform numbers by arithmetic.
"""

from __future__ import annotations

import math
import zlib

import numpy as np
from numpy.typing import NDArray

_CHUNK = 1 << 22  # values; bounds the memory of tests at the public model's sizes


def uniform(name: str, seed: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """float32 `shape`, evenly spread over [-1, 1); a function of the name and the seed alone."""
    generator = np.random.PCG64([seed, zlib.crc32(name.encode())])
    values = np.empty(math.prod(shape), np.float32)
    for start in range(0, values.size, _CHUNK):
        part = values[start : start + _CHUNK]
        words = generator.random_raw(part.size)
        part[:] = (words >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1.0
    return values.reshape(shape)


def spread(name: str, seed: int, shape: tuple[int, ...], deviation: float) -> NDArray[np.float32]:
    """Like `uniform`, scaled to a standard deviation of `deviation`."""
    values = uniform(name, seed, shape)
    values *= np.float32(deviation * math.sqrt(3.0))
    return values


def integers(name: str, seed: int, count: int, limit: int) -> list[int]:
    """`count` integers in 0..limit-1."""
    return [min(int((float(value) + 1.0) / 2.0 * limit), limit - 1) for value in uniform(name, seed, (count,))]
