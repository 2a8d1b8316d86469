"""Key/value memory of one sequence.

Owns the two buffers per layer that ONNX Runtime reads and writes in place, and knows how full they are. Knows nothing
about tokens, prompts or sampling.

    batch 1 | key/value heads H_kv | capacity C (positions) | head size D
    buffer shape [1, H_kv, C, D]; over the 32 layers of the real model 256 KiB per position in float32, 128 in float16
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephi.errors import CapacityError
from edgephi.manifest import FloatName, Manifest

_BLOCK = 256
_GROWTH = 1.5
_KEPT = 4096  # positions that stay allocated between sequences


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheShape:
    """Sizes of the cache.

    Attributes:
        num_layers: Layers of the decoder.
        num_kv_heads: H_kv.
        head_size: D.
        max_positions: The context the cache may grow to.
        model_positions: The context the model was made for; at least `max_positions`.
        dtype: Of every key and value.
    """

    num_layers: int
    num_kv_heads: int
    head_size: int
    max_positions: int
    model_positions: int
    dtype: FloatName

    @property
    def bytes_per_position(self) -> int:
        """Keys and values of every layer."""
        return 2 * self.num_layers * self.num_kv_heads * self.head_size * np.dtype(self.dtype).itemsize


def cache_shape(manifest: Manifest, max_context: int | None = None) -> CacheShape:
    """The shape for a model's decoder; `max_context` None for the model's own context."""
    info, model_positions = manifest.decoder, manifest.rope.max_positions
    return CacheShape(
        num_layers=info.num_layers,
        num_kv_heads=info.num_kv_heads,
        head_size=info.head_size,
        max_positions=max_context or model_positions,
        model_positions=model_positions,
        dtype=info.dtype,
    )


class KVCache:
    """Buffers that grow in blocks up to the context.

    Attributes:
        shape: Sizes.
        buffers: floats [1, H_kv, C, D] by graph name, `past_key_values.{i}.key` and `.value`. ONNX Runtime writes
            into them.
        used: Positions filled.
    """

    def __init__(self, shape: CacheShape) -> None:
        self.shape = shape
        self.buffers: dict[str, NDArray[Any]] = {}
        self.used = 0
        self._replace(min(_BLOCK, shape.max_positions))

    @property
    def capacity(self) -> int:
        """Positions the present buffers hold."""
        return int(next(iter(self.buffers.values())).shape[2])

    def reserve(self, total: int) -> None:
        """Make room for `total` positions, keeping what is filled.

        Raises:
            CapacityError: More than the context, or than this machine's memory. Nothing that is filled has changed.
        """
        if total <= self.capacity:
            return
        check_context(total, self.shape)
        wanted = max(total, int(self.capacity * _GROWTH))
        self._replace(min(-(-wanted // _BLOCK) * _BLOCK, self.shape.max_positions))

    def truncate(self, length: int) -> None:
        """Forget every position from `length` on."""
        if not 0 <= length <= self.used:
            raise ValueError(f"cannot truncate to {length}: {self.used} positions are filled")
        self.used = length

    @property
    def is_oversized(self) -> bool:
        """Whether `reset` would replace the buffers by smaller ones."""
        return self.capacity > _KEPT

    def reset(self) -> None:
        """Forget every position, and give back the memory of an uncommonly long sequence."""
        self.used = 0
        if self.is_oversized:
            self._replace(_KEPT)

    def _replace(self, capacity: int) -> None:
        """New buffers of this capacity with what is filled; with nothing filled the old ones are freed first."""
        old = self.buffers
        if self.used == 0:
            before = self.capacity if old else 0
            self.buffers = old = {}
        try:
            grown = self._zeros(capacity)
        except CapacityError:
            self.buffers = old or self._zeros(before)
            raise
        for name, buffer in old.items():
            grown[name][:, :, : self.used] = buffer[:, :, : self.used]
        self.buffers = grown

    def _zeros(self, capacity: int) -> dict[str, NDArray[Any]]:
        shape = (1, self.shape.num_kv_heads, capacity, self.shape.head_size)
        try:
            return {name: np.zeros(shape, self.shape.dtype) for name in cache_names(self.shape.num_layers)}
        except MemoryError:
            size = capacity * self.shape.bytes_per_position / 2**20
            raise CapacityError(
                f"the cache for {capacity:,} positions needs {size:,.0f} MiB, more than this machine can give; "
                "shorten the input"
            ) from None


def cache_names(num_layers: int) -> list[str]:
    """Graph inputs of the cache, in the graph's order."""
    return [f"past_key_values.{layer}.{kind}" for layer in range(num_layers) for kind in ("key", "value")]


def check_context(total: int, shape: CacheShape) -> None:
    """Refuse a sequence that is longer than the context.

    Raises:
        CapacityError: It says by how much, and what a larger context would cost.
    """
    if total <= shape.max_positions:
        return
    excess = total - shape.max_positions
    advice = f"shorten it by {excess:,}"
    if total <= shape.model_positions:
        mebibytes = excess * shape.bytes_per_position / 2**20
        advice += f" or set max_context to {total} ({mebibytes:,.1f} MiB more memory)"
    raise CapacityError(f"the input needs {total:,} positions but the context holds {shape.max_positions:,}; {advice}")
