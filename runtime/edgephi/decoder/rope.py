"""Cosines and sines of rotary positions, with LongRoPE's two sets of frequencies.

    inv_freq[i] = 1 / (factor[i] * theta ** (2 i / rotary_dim))       i = 0 ... rotary_dim / 2 - 1
    tables      [M, rotary_dim / 2], already multiplied by attention_scale, in the decoder's dtype

Ding et al. 2024, arXiv 2402.13753. Angles are rounded to float32 as the reference rounds them: at position 4,096 that
rounding is larger than the precision of the tables. A float16 table is the float32 one, rounded.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephi.bundle.manifest import FloatName, RopeInfo

_BLOCK = 1024


class RotaryTables:
    """The two tables for one regime at a time, built for as many positions as were needed so far.

    Attributes:
        cos: floats [M, rotary_dim / 2].
        sin: floats [M, rotary_dim / 2].
    """

    def __init__(self, info: RopeInfo, dtype: FloatName) -> None:
        self._info = info
        self._dtype = dtype
        self._long = False
        self.cos, self.sin = self._build(_BLOCK)

    def serves(self, total_length: int) -> bool:
        """Whether the present tables do for a sequence of this many positions."""
        return self._info.is_long(total_length) == self._long and total_length <= len(self.cos)

    def prepare(self, total_length: int) -> None:
        """Make the tables serve a sequence of this many positions."""
        if self.serves(total_length):
            return
        self._long = self._info.is_long(total_length)
        self.cos, self.sin = self._build(-(-total_length // _BLOCK) * _BLOCK)

    def _build(self, num_positions: int) -> tuple[NDArray[Any], NDArray[Any]]:
        info = self._info
        factors = info.long_factor if self._long else info.short_factor
        frequencies = inverse_frequencies(np.array(factors), info.theta, info.rotary_dim)
        positions = np.arange(num_positions, dtype=np.float32)
        # float32 product, then float64: the angle carries the reference's rounding, its cosine adds none.
        angles = (positions[:, None] * frequencies[None, :]).astype(np.float64)
        scale = np.float32(info.attention_scale)
        cos, sin = np.cos(angles).astype(np.float32) * scale, np.sin(angles).astype(np.float32) * scale
        return cos.astype(self._dtype, copy=False), sin.astype(self._dtype, copy=False)


def inverse_frequencies(factors: NDArray[np.float64], theta: float, rotary_dim: int) -> NDArray[np.float32]:
    """float32 [rotary_dim / 2], every step rounded to float32 as the reference does."""
    exponents = np.arange(0, rotary_dim, 2, dtype=np.float32) / np.float32(rotary_dim)
    # The power is taken in float64 and rounded once: a float32 power differs between libraries in its last bit.
    powers = np.power(float(theta), exponents.astype(np.float64)).astype(np.float32)
    return np.float32(1.0) / (factors.astype(np.float32) * powers)
