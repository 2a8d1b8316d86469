"""The file with the scales of an int8 cache: one for each channel of keys and values.

key_scales, value_scales    float32 [layers, key/value heads, head size], one after the other in their file
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgephi.bundle.tensor_ref import TensorRef
from edgephi_export.checkpoint.config import DecoderConfig
from edgephi_export.weights.plan import ALIGNMENT_BYTES

SCALES_FILE = "weights/cache_scales.bin"


def place_scales(config: DecoderConfig) -> tuple[TensorRef, TensorRef]:
    """Where the scales of keys and those of values will lie."""
    shape = (config.num_layers, config.num_kv_heads, config.head_size)
    keys = TensorRef(file=SCALES_FILE, offset=0, dtype="float32", shape=shape)
    offset = keys.num_bytes + -keys.num_bytes % ALIGNMENT_BYTES
    return keys, TensorRef(file=SCALES_FILE, offset=offset, dtype="float32", shape=shape)


def layer_scales(scales: TensorRef, layer: int) -> TensorRef:
    """One layer's, [1, H_kv, 1, D], as GroupQueryAttention wants them."""
    _, heads, size = scales.shape
    return replace(scales.rows(layer, layer + 1), shape=(1, heads, 1, size))


def write_scales(folder: Path, places: Iterable[TensorRef], scales: Iterable[NDArray[np.float32]]) -> None:
    """Write the file, each array at its place."""
    with (folder / SCALES_FILE).open("wb") as stream:
        for place, values in zip(places, scales, strict=True):
            stream.seek(place.offset)
            stream.write(values.astype("<f4").tobytes())
