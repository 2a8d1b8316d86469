"""The scales of an int8 cache: one for each channel of keys and values, measured and written once.

Owns the rule that makes them from what was seen, and their file. Knows nothing about prompts or sessions.

    key_scales, value_scales    float32 [layers, key/value heads, head size], one after the other in their file
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgephi.base.errors import ArtifactError
from edgephi.bundle.tensor_ref import TensorRef
from edgephi.cache.kv_cache import KVCache, cache_names
from edgephi_export.checkpoint.config import DecoderConfig
from edgephi_export.weights.plan import ALIGNMENT_BYTES

SCALES_FILE = "weights/cache_scales.bin"
_LARGEST_CODE = 127
#: Room above the largest value that was seen, for 2 dB of precision. Of the bundled checkpoint's samples, which are not
#: calibrated with, one value in 1,000 is larger than what was seen, up to 1.7 times; with this, 4 in 100,000 are cut.
_MARGIN = 1.3
#: A channel that was still is given this share of its head's widest range, which costs less than that one's own
#: rounding: with a scale of almost zero, the first value in it would be cut to nothing.
_LEAST_SHARE = 1 / 64


def place_scales(config: DecoderConfig) -> tuple[TensorRef, TensorRef]:
    """Where the scales of keys and those of values will lie."""
    shape = (config.num_layers, config.num_kv_heads, config.head_size)
    keys = TensorRef(file=SCALES_FILE, offset=0, dtype="float32", shape=shape)
    offset = keys.num_bytes + -keys.num_bytes % ALIGNMENT_BYTES
    return keys, TensorRef(file=SCALES_FILE, offset=offset, dtype="float32", shape=shape)


def layer_scales(scales: TensorRef, layer: int) -> TensorRef:
    """One layer's, [1, H_kv, 1, D], as GroupQueryAttention wants them."""
    _, heads, size = scales.shape
    step = heads * size * np.dtype(scales.dtype).itemsize
    return TensorRef(file=scales.file, offset=scales.offset + layer * step, dtype="float32", shape=(1, heads, 1, size))


def write_scales(folder: Path, places: Iterable[TensorRef], scales: Iterable[NDArray[np.float32]]) -> None:
    """Write the file, each array at its place."""
    with (folder / SCALES_FILE).open("wb") as stream:
        for place, values in zip(places, scales, strict=True):
            stream.seek(place.offset)
            stream.write(values.astype("<f4").tobytes())


class CacheRanges:
    """The largest keys and values that were seen.

    Args:
        config: Sizes of the decoder.
        rotary_dim: Leading dimensions of a key that are rotated.
    """

    def __init__(self, config: DecoderConfig, rotary_dim: int) -> None:
        shape = (config.num_layers, config.num_kv_heads, config.head_size)
        self._half = rotary_dim // 2
        self._keys, self._values = np.zeros(shape, np.float32), np.zeros(shape, np.float32)

    def add(self, cache: KVCache) -> None:
        """Take in every filled position of a cache in float32.

        Raises:
            ArtifactError: A key or value is not finite.
        """
        names = cache_names(cache.shape.num_layers)
        for layer in range(cache.shape.num_layers):
            key, value = (cache.buffers[name][0, :, : cache.used] for name in names[2 * layer : 2 * layer + 2])
            for largest, seen in ((self._keys, self._key_sizes(key)), (self._values, np.abs(value))):
                most = seen.max(axis=1)
                if not np.isfinite(most).all():
                    raise ArtifactError(f"layer {layer} gives keys or values that are not finite; check the checkpoint")
                np.maximum(largest[layer], most, out=largest[layer])

    def scales(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Of keys and of values, float32 [layers, heads, head size], all above zero."""
        return _scales(self._keys), _scales(self._values)

    def _key_sizes(self, keys: NDArray[np.float32]) -> NDArray[np.float32]:
        """How large each channel of these keys can become at any position.

        A rotary pair (i, i + half) turns with its position, so where calibration saw one of the two large, another
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
