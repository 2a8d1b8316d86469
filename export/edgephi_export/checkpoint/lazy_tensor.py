"""A tensor that is not read yet: its name, its shape, and how to get some of its rows.

Simple changes (another name, a factor, a convolution as a matrix) are noted here and made when rows are read.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgephi_quantize.block_codes import BlockCodes
from edgephi_quantize.formats import BlockFormat

Rows = Callable[[int, int], NDArray[np.float32]]
#: Values of one chunk: few enough for the caches of a core while it is quantized, many enough to hide the overhead.
_CHUNK_VALUES = 1 << 20


@dataclass(frozen=True, slots=True)
class StoredCodes:
    """Codes that a checkpoint holds for a matrix.

    Attributes:
        format: Of the codes.
        read_rows: Gives the codes of the rows from a start to a stop.
    """

    format: BlockFormat
    read_rows: Callable[[int, int], BlockCodes]


@dataclass(frozen=True, slots=True, kw_only=True)
class LazyTensor:
    """A float32 tensor that is read in row chunks, by any thread.

    Attributes:
        name: Canonical name.
        shape: Axes, outermost first.
        read_rows: Gives the rows from a start to a stop of the first axis.
        source_bytes: Bytes of the checkpoint that reading all of it reads.
        divisible: False where every call computes the whole.
        codes: The codes that the values come from; None where the checkpoint holds floats.
    """

    name: str
    shape: tuple[int, ...]
    read_rows: Rows
    source_bytes: int
    divisible: bool = True
    codes: StoredCodes | None = None

    def whole(self) -> NDArray[np.float32]:
        """All rows."""
        return self.read_rows(0, self.shape[0])

    def spans(self) -> Iterator[tuple[int, int]]:
        """Starts and stops of the chunks; the same for any number of threads, so that results are too."""
        row_values = max(math.prod(self.shape[1:]), 1)
        step = max(_CHUNK_VALUES // row_values, 1) if self.divisible else max(self.shape[0], 1)
        for start in range(0, self.shape[0], step):
            yield start, min(start + step, self.shape[0])

    def renamed(self, name: str) -> LazyTensor:
        """The same values under another name."""
        return dataclasses.replace(self, name=name)

    def scaled(self, factor: float) -> LazyTensor:
        """Every value times `factor`."""
        if factor == 1.0:
            return self
        return dataclasses.replace(
            self, codes=None, read_rows=lambda start, stop: self.read_rows(start, stop) * np.float32(factor)
        )

    def rows(self, start: int, stop: int) -> LazyTensor:
        """The rows from `start` up to `stop` of the first axis."""
        codes = self.codes
        if codes is not None:
            read = codes.read_rows
            codes = StoredCodes(codes.format, lambda first, end: read(start + first, start + end))
        return dataclasses.replace(
            self,
            shape=(stop - start, *self.shape[1:]),
            read_rows=lambda first, end: self.read_rows(start + first, start + end),
            source_bytes=self.source_bytes * stop // self.shape[0] - self.source_bytes * start // self.shape[0],
            codes=codes,
        )

    def as_matrix(self) -> LazyTensor:
        """A pointwise convolution's weight [outputs, inputs, 1] as the matrix it is."""
        rows, columns = self.shape[0], math.prod(self.shape[1:])
        if len(self.shape) == 2:
            return self
        return dataclasses.replace(
            self,
            shape=(rows, columns),
            read_rows=lambda start, stop: self.read_rows(start, stop).reshape(stop - start, columns),
        )


def computed(
    name: str, shape: tuple[int, ...], compute: Callable[[], NDArray[np.float32]], source_bytes: int
) -> LazyTensor:
    """A tensor that `compute` gives as a whole."""
    return LazyTensor(
        name=name,
        shape=shape,
        read_rows=lambda start, stop: compute()[start:stop],
        source_bytes=source_bytes,
        divisible=False,
    )


def solved_tensor(name: str, shape: tuple[int, ...]) -> LazyTensor:
    """A tensor that no checkpoint holds: it is written as it was solved, and has no rows of its own to read."""

    def read_rows(start: int, stop: int) -> NDArray[np.float32]:
        raise ValueError(f"{name} [{start}:{stop}] is in no checkpoint; it must be solved before it is written")

    return LazyTensor(name=name, shape=shape, read_rows=read_rows, source_bytes=0)
