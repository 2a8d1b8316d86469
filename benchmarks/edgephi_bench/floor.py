"""What a decode step must read from memory: the least time it can take.

Owns the arithmetic of bytes. Knows nothing about measuring.

Weights count as ONNX Runtime holds them once packed, not as they lie on disk: for each block of b-bit codes a float32
scale and a float32 sum, so b + 64 / block_size bits per weight (on x86 with version 1.31; private memory of sessions
agrees for 2, 4 and 8 bits). Every weight of the decoder is read once per token; of
the embedding only one row is, but the head that shares its bytes is read whole. Activations stay in the caches of the
processor and are not counted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgephi.bundle import Bundle
from edgephi.kv_cache import cache_shape
from edgephi.manifest import AdapterName
from edgephi.tensor_index import StoredTensorInfo

_BLOCK_OVERHEAD_BITS = 64  # scale and sum of a block


@dataclass(frozen=True, slots=True, kw_only=True)
class StepBytes:
    """What one step reads.

    Attributes:
        weights: Of the decoder, the head included.
        adapter: Of the adapter that is on.
        kv_per_position: Keys and values of one cached position.
    """

    weights: int
    adapter: int
    kv_per_position: int

    def at(self, depth: float) -> float:
        """Bytes of a step after `depth` cached positions."""
        return self.weights + self.adapter + self.kv_per_position * depth


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """The floor of the steps that were measured at one depth, and how near they came.

    Attributes:
        mode: `text`, or the modality whose adapter was on.
        condition: Of the figure.
        num_bytes: Of the middle one of the steps.
        bandwidth: Bytes per second that were read from memory on this machine with as many threads.
        median_s: Of the steps.
    """

    mode: str
    condition: str
    num_bytes: float
    bandwidth: float
    median_s: float

    @property
    def floor_s(self) -> float:
        """The time that reading takes."""
        return self.num_bytes / self.bandwidth

    @property
    def reached(self) -> float:
        """1.0 where the step takes no longer than the reading."""
        return self.floor_s / self.median_s


def step_bytes(bundle: Bundle, adapter: AdapterName = "none") -> StepBytes:
    """What a decode step of this model reads.

    Raises:
        ArtifactError: The list of its tensors is damaged.
    """
    index = bundle.tensor_index()
    parts = {"decoder": 0, f"adapter_{adapter}": 0}
    for tensor in index.tensors:
        if tensor.part in parts:
            parts[tensor.part] += packed_bytes(tensor)
    shape = cache_shape(bundle.manifest)
    return StepBytes(
        weights=parts["decoder"], adapter=parts[f"adapter_{adapter}"], kv_per_position=shape.bytes_per_position
    )


def packed_bytes(tensor: StoredTensorInfo) -> int:
    """Memory of one tensor once a session has packed it."""
    family, _, block = tensor.format.partition(":")
    block = block.partition(":")[0]
    if not block.isdigit():  # floats, and codes with one scale per row, are held as they are stored
        return tensor.num_bytes
    *rows, columns = tensor.shape
    blocks = math.prod(rows) * -(-columns // int(block))
    bits = int(family.removeprefix("int"))
    return blocks * (int(block) * bits + _BLOCK_OVERHEAD_BITS) // 8
