"""The arithmetic of LoRA: `y = W x + scale * B (A x)`, applied beside a linear or merged into it."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgephi.bundle.manifest import AdapterInfo
from edgephi_export.checkpoint.lazy_tensor import LazyTensor
from edgephi_export.checkpoint.tensors import WeightSource


@dataclass(frozen=True, slots=True)
class AdapterPair:
    """One adapter's two matrices for one linear, read on demand.

    Attributes:
        source: The checkpoint.
        linear: Canonical name of the linear.
        info: The adapter.
    """

    source: WeightSource
    linear: str
    info: AdapterInfo

    @property
    def a(self) -> LazyTensor:
        """A [rank, inputs]."""
        name = f"{self.linear}.lora_A.{self.info.name}"
        return self.source.lazy(f"{name}.weight").renamed(name)

    @property
    def scaled_b(self) -> LazyTensor:
        """`scale * B` [outputs, rank]."""
        name = f"{self.linear}.lora_B.{self.info.name}"
        return self.source.lazy(f"{name}.weight").renamed(name).scaled(self.info.scale)


def merged(base: LazyTensor, pair: AdapterPair) -> LazyTensor:
    """`W + scale * B A` [outputs, inputs], computed in float32 for the rows that are asked for."""
    scaled_b = pair.scaled_b

    def read_rows(start: int, stop: int) -> NDArray[np.float32]:
        rows: NDArray[np.float32] = scaled_b.read_rows(start, stop) @ _whole(pair)
        rows += base.read_rows(start, stop)
        return rows

    source_bytes = base.source_bytes + pair.a.source_bytes + scaled_b.source_bytes
    return replace(base, read_rows=read_rows, source_bytes=source_bytes)


@functools.lru_cache(maxsize=4)
def _whole(pair: AdapterPair) -> NDArray[np.float32]:
    """A, kept while the chunks of its linear come by: a few threads are at work on neighbouring chunks."""
    return pair.a.whole()
