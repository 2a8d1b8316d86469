"""The arithmetic of LoRA: `y = W x + scale * B (A x)`, applied beside a linear or merged into it.

Owns the folding of the scale and the merge. Knows nothing about graphs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgephi.manifest import AdapterInfo
from edgephi_export.weights import WeightSource


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

    def read_a(self) -> NDArray[np.float32]:
        """A, float32 [rank, inputs]."""
        return self.source.read(f"{self.linear}.lora_A.{self.info.name}.weight")

    def read_scaled_b(self) -> NDArray[np.float32]:
        """`scale * B`, float32 [outputs, rank]."""
        return self.source.read(f"{self.linear}.lora_B.{self.info.name}.weight") * np.float32(self.info.scale)


def merge(base: NDArray[np.float32], pair: AdapterPair) -> NDArray[np.float32]:
    """`W + scale * B A`, float32 [outputs, inputs], a new array."""
    merged: NDArray[np.float32] = base + pair.read_scaled_b() @ pair.read_a()
    return merged
