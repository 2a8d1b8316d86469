"""The KV cache of one sequence: two buffers for each layer, which ONNX Runtime reads and writes in place.

The buffers are memory of the device that the decoder runs on.

    batch 1 | key/value heads H_kv | capacity C (positions) | head size D
    buffer shape [1, H_kv, C, D]; over the 32 layers of the real model 256 KiB per position in float32, 128 in float16,
    64 in int8
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from edgephi.base.errors import CapacityError
from edgephi.base.free_memory import headroom, is_ignored
from edgephi.base.units import human_bytes
from edgephi.bundle.cache_choice import cache_kind
from edgephi.bundle.manifest import CacheChoice, CacheDtype, Manifest
from edgephi.ort.cpu import CPU
from edgephi.ort.device import Buffer, Device, MemoryNeed

_BLOCK = 256
_GROWTH = 1.25
_SMALL_BYTES = 16 << 20  # not worth asking the system for its free memory


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
        ignores_memory: Take memory although there does not seem to be enough.
        device: Has the memory.
    """

    num_layers: int
    num_kv_heads: int
    head_size: int
    max_positions: int
    model_positions: int
    dtype: CacheDtype
    ignores_memory: bool = False
    device: Device = field(default=CPU)

    @property
    def bytes_per_position(self) -> int:
        """Keys and values of every layer."""
        return 2 * self.num_layers * self.num_kv_heads * self.head_size * self.bytes_per_value

    @property
    def bytes_per_value(self) -> int:
        """Of one key or value's channel."""
        return np.dtype(self.dtype).itemsize


def cache_shape(manifest: Manifest, max_context: int | None = None, kind: CacheChoice = "float") -> CacheShape:
    """The shape for a model's decoder; `max_context` None for the model's own context.

    Raises:
        ConfigError: The folder has no graphs for `kind`.
    """
    chosen = cache_kind(manifest, kind)
    info, model_positions = manifest.decoder, manifest.rope.max_positions
    return CacheShape(
        num_layers=info.num_layers,
        num_kv_heads=info.num_kv_heads,
        head_size=info.head_size,
        max_positions=max_context or model_positions,
        model_positions=model_positions,
        dtype=info.cache_dtype(chosen),
    )


class KVCache:
    """Buffers that grow in blocks up to the context.

    Attributes:
        shape: Sizes.
        buffers: floats or int8 [1, H_kv, C, D] by graph name, `past_key_values.{i}.key` and `.value`: memory of the
            shape's device, which ONNX Runtime writes into.
        used: Positions filled.
    """

    def __init__(self, shape: CacheShape, *, capacity: int = 0) -> None:
        self.shape = shape
        self.used = 0
        self.buffers: dict[str, Buffer] = self._zeros(self.rounded(capacity))

    @property
    def capacity(self) -> int:
        """Positions the present buffers hold."""
        return int(next(iter(self.buffers.values())).shape[2])

    @property
    def num_bytes(self) -> int:
        """Memory of the present buffers."""
        return self.capacity * self.shape.bytes_per_position

    def rounded(self, total: int) -> int:
        """The capacity that `total` positions get: whole blocks, within the context."""
        return min(-(-max(total, 1) // _BLOCK) * _BLOCK, self.shape.max_positions)

    def reserve(self, total: int) -> None:
        """Make room for `total` positions, keeping what is filled.

        Raises:
            CapacityError: More than the context, or than this machine's memory. Nothing that is filled has changed.
        """
        if total <= self.capacity:
            return
        check_context(total, self.shape)
        _check_memory(total - self.capacity, total, self.shape)
        # A prompt gets what it asks for; a reply that grows token by token must not be copied for each block.
        grown = int(self.capacity * _GROWTH) if self.used else 0
        self._replace(self.rounded(max(total, grown)))

    def filled(self, name: str) -> NDArray[Any]:
        """The filled positions of one buffer in host memory, floats or int8 [1, H_kv, used, D]; not to be changed."""
        return self.shape.device.read(self.buffers[name], self.used)

    def truncate(self, length: int) -> None:
        """Drop every position from `length` on.

        Raises:
            ValueError: Fewer positions are filled. Nothing changes.
        """
        if not 0 <= length <= self.used:
            raise ValueError(f"cannot truncate to {length}: {self.used} tokens are filled")
        self.used = length

    def shrink(self, num_bytes: int) -> None:
        """Give memory back until at most this much is held, or one block; the last positions are dropped."""
        if self.num_bytes <= num_bytes:
            return
        positions = num_bytes // self.shape.bytes_per_position // _BLOCK * _BLOCK
        self.used = min(self.used, positions)
        if self.capacity > max(positions, _BLOCK):
            self._replace(self.rounded(positions))

    def branch(self, length: int, total: int) -> Self:
        """A cache of its own with the first `length` positions copied and room for `total`.

        Raises:
            CapacityError: As `reserve`.
        """
        check_context(total, self.shape)
        _check_memory(total, total, self.shape)
        copied = type(self)(self.shape, capacity=total)
        for name, buffer in copied.buffers.items():
            self.shape.device.copy(self.buffers[name], buffer, length)
        copied.used = length
        return copied

    def _replace(self, capacity: int) -> None:
        """Buffers of this capacity with what is filled, moved one by one so that no two copies of all exist."""
        if self.used == 0:
            before = self.capacity
            self.buffers = {}  # freed first
            try:
                self.buffers = self._zeros(capacity)
            except CapacityError:
                self.buffers = self._zeros(before)
                raise
            return
        moved = self._zeros(capacity)
        try:
            for name, buffer in moved.items():
                self.shape.device.copy(self.buffers.pop(name), buffer, self.used)
        except BaseException:  # a signal between two buffers: neither set is whole
            self.used = 0
            raise
        finally:
            self.buffers = moved

    def _zeros(self, capacity: int) -> dict[str, Buffer]:
        shape = (1, self.shape.num_kv_heads, capacity, self.shape.head_size)
        try:
            return {
                name: self.shape.device.zeros(shape, self.shape.dtype) for name in cache_names(self.shape.num_layers)
            }
        except (MemoryError, OSError, OverflowError, ValueError):  # what a map says depends on how much too large it is
            size = capacity * self.shape.bytes_per_position / 2**20
            raise CapacityError(
                f"the cache for {capacity:,} tokens needs {size:,.0f} MiB, more than this machine can give; "
                "shorten the input"
            ) from None


def _check_memory(positions: int, total: int, shape: CacheShape) -> None:
    """Refuse what the device has no memory for: maps are promised freely, and a process that fills them is killed."""
    needed = positions * shape.bytes_per_position
    if needed <= _SMALL_BYTES or shape.ignores_memory or is_ignored():
        return
    if not shape.device.is_host:
        largest = total * shape.bytes_per_position // (2 * shape.num_layers)
        shape.device.check_room(MemoryNeed(what=f"{total:,} tokens", num_bytes=needed, largest_bytes=largest))
        return
    room = headroom()
    if short := room.missing(needed):
        advice = [f"shorten the input by {positions - room.free_bytes // shape.bytes_per_position:,} tokens or more"]
        if shape.dtype != "int8":
            smaller = human_bytes(needed // shape.bytes_per_value, 2)
            advice.append(f"use a folder exported with --kv-cache int8, which needs {smaller}")
        raise CapacityError(
            f"{positions:,} more tokens need {human_bytes(needed, 2)} but {short}; {', or '.join(advice)}; a smaller "
            "--cache-bytes keeps less of earlier requests"
        )


def cache_names(num_layers: int) -> list[str]:
    """Graph inputs of the cache, in the graph's order."""
    return [f"past_key_values.{layer}.{kind}" for layer in range(num_layers) for kind in ("key", "value")]


def check_context(total: int, shape: CacheShape, *, is_least: bool = False) -> None:
    """Refuse a sequence that is longer than the context.

    Args:
        total: Its length.
        shape: Has the context.
        is_least: It may turn out longer.

    Raises:
        CapacityError: It says by how much, and what a larger context would cost.
    """
    if total <= shape.max_positions:
        return
    excess = total - shape.max_positions
    least = "at least " if is_least else ""
    advice = f"shorten it by {least}{excess:,}"
    if total <= shape.model_positions:
        mebibytes = excess * shape.bytes_per_position / 2**20
        advice += f" or set max_context to {least}{total} ({mebibytes:,.1f} MiB more memory)"
    raise CapacityError(
        f"the input needs {least}{total:,} tokens but the context holds {shape.max_positions:,}; {advice}",
        reason="context",
    )
