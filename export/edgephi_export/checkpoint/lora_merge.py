"""Merges a LoRA or DoRA into the rows of a matrix while they are read, so that no merged matrix is ever held whole.

LoRA (Hu et al. 2021, arXiv 2106.09685): `W + scale * B A`. DoRA (Liu et al. 2024, arXiv 2402.09353): the same, each row
then brought to the length that was trained, `m * (W + scale * B A) / ||W + scale * B A||`.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgephi_export.checkpoint.lazy_tensor import LazyTensor
from edgephi_export.checkpoint.safetensors_file import StoredTensor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # each is its own key: a file may be rewritten in between
class LoraBlock:
    """One low-rank change of some neighbouring rows of a matrix.

    Attributes:
        first_row: The matrix's row that the first row of B changes; over 0 for parts of packed matrices.
        a: [rank, inputs].
        b: [rows, rank].
        scale: What the product is multiplied by.
        magnitude: DoRA's lengths [rows]; None for LoRA.
    """

    first_row: int
    a: StoredTensor
    b: StoredTensor
    scale: float
    magnitude: StoredTensor | None = None

    @property
    def end_row(self) -> int:
        """The row after the last that is changed."""
        return self.first_row + self.b.shape[0]

    @property
    def source_bytes(self) -> int:
        """Bytes of its tensors in their file."""
        return sum(tensor.num_bytes for tensor in (self.a, self.b, self.magnitude) if tensor is not None)

    def apply(self, rows: NDArray[np.float32], start: int) -> None:
        """Change rows of the matrix in place.

        Args:
            rows: float32 [n, inputs], all of them rows that this block changes.
            start: The first one's place in the matrix.
        """
        low = start - self.first_row
        rows += self.b.read(low, low + len(rows)) @ _whole_a(self) * np.float32(self.scale)
        if self.magnitude is not None:
            lengths = np.linalg.norm(rows, axis=1)
            wanted = self.magnitude.read(low, low + len(rows)).reshape(-1)
            rows *= np.divide(wanted, lengths, out=np.zeros_like(lengths), where=lengths > 0)[:, None]


def with_changes(base: LazyTensor, blocks: tuple[LoraBlock, ...]) -> LazyTensor:
    """`base` [outputs, inputs] with every block applied to the rows that are asked for."""

    def read_rows(start: int, stop: int) -> NDArray[np.float32]:
        rows = base.read_rows(start, stop)
        for block in blocks:
            low, high = max(start, block.first_row), min(stop, block.end_row)
            if low < high:
                block.apply(rows[low - start : high - start], low)
        return rows

    source_bytes = base.source_bytes + sum(block.source_bytes for block in blocks)
    return replace(base, read_rows=read_rows, source_bytes=source_bytes, codes=None)


@functools.lru_cache(maxsize=8)
def _whole_a(block: LoraBlock) -> NDArray[np.float32]:
    """A, kept while the chunks of its matrix come by: a few threads are at work on neighbouring chunks."""
    return block.a.read(0, block.a.shape[0])
