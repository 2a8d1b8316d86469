"""The scales of an int8 KV cache, one for each channel, from the keys and values of calibration."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgephi.base.errors import ArtifactError

_LARGEST_CODE = 127
#: Room above the largest value of calibration, for 2 dB of precision. Of the bundled checkpoint's samples, which are
#: not calibrated with, one value in 1,000 is larger than that, up to 1.7 times; with this, 4 in 100,000 are cut.
_MARGIN = 1.3
#: A channel that calibration left still is given this share of its head's widest range, which costs less than that
#: one's own rounding: with a scale of almost zero, the first value in it would be cut to nothing.
_LEAST_SHARE = 1 / 64


class CacheRanges:
    """The largest keys and values of each channel.

    Args:
        num_layers: Layers.
        num_heads: Key/value heads of a layer.
        head_size: Channels of a head.
        rotary_dim: Leading channels of a key that are rotated.
    """

    def __init__(self, num_layers: int, num_heads: int, head_size: int, rotary_dim: int) -> None:
        shape = (num_layers, num_heads, head_size)
        self._half = rotary_dim // 2
        self._keys, self._values = np.zeros(shape, np.float32), np.zeros(shape, np.float32)

    def add(self, layer: int, keys: NDArray[np.float32], values: NDArray[np.float32]) -> None:
        """Take in one layer's keys and values.

        Args:
            layer: Its number.
            keys: float32 [heads, S, head size], rotated. Not modified.
            values: float32 [heads, S, head size]. Not modified.

        Raises:
            ArtifactError: A key or value is not finite.
        """
        for largest, sizes in ((self._keys, self._key_sizes(keys)), (self._values, np.abs(values))):
            most = sizes.max(axis=1)
            if not np.isfinite(most).all():
                raise ArtifactError(f"layer {layer} gives keys or values that are not finite; check the checkpoint")
            np.maximum(largest[layer], most, out=largest[layer])

    def scales(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The scales of keys and of values, float32 [layers, heads, head size], all above zero."""
        return _scales(self._keys), _scales(self._values)

    def _key_sizes(self, keys: NDArray[np.float32]) -> NDArray[np.float32]:
        """How large each channel of these keys can become at any position.

        A rotary pair (i, i + half) turns with its position, so where calibration has one of the two large, another
        position has the other: what stays is the length of the pair, for short and long factors alike.
        """
        half = self._half
        sizes: NDArray[np.float32] = np.abs(keys)
        lengths = np.hypot(keys[..., :half], keys[..., half : 2 * half])
        sizes[..., :half] = sizes[..., half : 2 * half] = lengths
        return sizes


def _scales(largest: NDArray[np.float32]) -> NDArray[np.float32]:
    widest = largest.max(axis=-1, keepdims=True)
    widest = np.where(widest > 0, widest, 1)
    ranges = np.maximum(largest, _LEAST_SHARE * widest)
    return (ranges * (_MARGIN / _LARGEST_CODE)).astype(np.float32)
