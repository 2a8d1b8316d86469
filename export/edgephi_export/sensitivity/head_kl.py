"""The KL of distributions over the vocabulary, some rows of the head at a time: the head and its logits are never held.

KL = sum over v of p_v (z_v - y_v) - log sum exp z + log sum exp y        z reference's logits, y the other's
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgephi_export.checkpoint.lazy_tensor import LazyTensor
from edgephi_export.sensitivity.rounding import rounded_inputs
from edgephi_quantize.formats import Format
from edgephi_quantize.parallel import ordered_map

Floats = NDArray[np.float32]
Sums = NDArray[np.float64]
#: The values that rows of the head stand for in a format.
Rounded = Callable[[Floats, Format], Floats]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeadInput:
    """What the head reads, float32 [R, H], and its format; None for the head as it is."""

    rows: Floats
    format: Format | None = None


def divergences(
    head: LazyTensor, reference: Floats, variants: Sequence[HeadInput], rounded: Rounded, threads: int
) -> list[Sums]:
    """float64 [R] for each variant: its KL to the reference at every position.

    Args:
        head: [V, H].
        reference: float32 [R, H].
        variants: Of R rows each.
        rounded: See Rounded.
        threads: Workers; the result does not depend on it while BLAS takes one thread for each.
    """
    inputs = [rounded_inputs(one.rows, one.format) for one in variants]

    def logits(span: tuple[int, int]) -> list[Floats]:
        rows = head.read_rows(*span)
        return [
            reference @ rows.T,
            *(
                read @ (rows if one.format is None else rounded(rows, one.format)).T
                for read, one in zip(inputs, variants, strict=True)
            ),
        ]

    running = _RunningSums(len(reference), len(variants))
    for wanted, *found in ordered_map(logits, head.spans(), threads=threads):
        running.add(wanted, found)
    return running.divergences()


class _RunningSums:
    """Sums over the part of the vocabulary that has been seen, relative to the largest logit so far."""

    def __init__(self, num_rows: int, num_variants: int) -> None:
        self._reference = _LogSum(num_rows)
        self._variants = [_LogSum(num_rows) for _ in range(num_variants)]
        self._crosses: list[Sums] = [np.zeros(num_rows) for _ in range(num_variants)]

    def add(self, wanted: Floats, found: Sequence[Floats]) -> None:
        shrunk, shares = self._reference.add(wanted)
        for place, logits in enumerate(found):
            self._variants[place].add(logits)
            differences = wanted.astype(np.float64) - logits
            self._crosses[place] = self._crosses[place] * shrunk + np.einsum("ij,ij->i", shares, differences)

    def divergences(self) -> list[Sums]:
        return [
            np.maximum(cross / self._reference.total - self._reference.value + other.value, 0.0)
            for cross, other in zip(self._crosses, self._variants, strict=True)
        ]


class _LogSum:
    """log sum exp of each row."""

    def __init__(self, num_rows: int) -> None:
        self.total: Sums = np.zeros(num_rows)
        self._top: Sums = np.full(num_rows, -np.inf)

    @property
    def value(self) -> Sums:
        result: Sums = self._top + np.log(self.total)
        return result

    def add(self, logits: Floats) -> tuple[Sums, Sums]:
        """How much earlier sums shrink, [R], and exp of the logits, [R, n], relative to the largest so far."""
        top = np.maximum(self._top, logits.max(axis=1))
        shrunk = np.exp(self._top - top)
        shares = np.exp(logits - top[:, None])
        self.total, self._top = self.total * shrunk + shares.sum(axis=1), top
        return shrunk, shares
