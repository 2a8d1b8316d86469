"""The operations that reading a prompt takes at least: the least time it can take, where its products are of bytes.

Only the decoder's linears are counted, two operations for each weight and position; attention and what lies between is
work beyond the floor.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgephi.bundle.bundle import Bundle
from edgephi_bench.measure.condition import Condition


@dataclass(frozen=True, slots=True, kw_only=True)
class ArithmeticFloor:
    """The floor of a prefill, and how near it came.

    Attributes:
        mode: `text`.
        condition: Of the figure.
        operations: Additions and multiplications.
        int8_rate: Operations per second that this machine reached with bytes, with as many threads.
        median_s: Of the prefill.
    """

    mode: str
    condition: Condition
    operations: int
    int8_rate: float
    median_s: float

    def __post_init__(self) -> None:
        if self.operations <= 0 or self.int8_rate <= 0 or self.median_s <= 0:
            raise ValueError(f"the arithmetic of {self.condition} is not above 0")

    @property
    def floor_s(self) -> float:
        """The time that the operations take at that rate."""
        return self.operations / self.int8_rate

    @property
    def reached(self) -> float:
        """The floor over the median; 1.0 where they are equal."""
        return self.floor_s / self.median_s


def prefill_operations(bundle: Bundle, tokens: int) -> int:
    """Of a prompt of so many tokens, without an adapter; the head, which reads one row, aside.

    Raises:
        ArtifactError: The list of the model's tensors is damaged.
    """
    head = bundle.manifest.decoder.embedding.values
    tensors = (t for t in bundle.tensor_index().tensors if t.part == "decoder" and len(t.shape) == 2)
    return 2 * tokens * sum(math.prod(tensor.shape) for tensor in tensors if tensor.values != head)
