"""The record of how close a model folder's tensors are to the checkpoint it was made from.

Reading a checkpoint is work for the host, which adds the function as the entry point `compare` of the group
`edgephi.plugins`.

    sqnr_db = 10 log10(sum w^2 / sum (w - stored)^2), inf where nothing was lost
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgephi.bundle.tensor_index import Part


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorComparison:
    """One tensor beside its source.

    Attributes:
        name: As in `tensors.json`.
        part: The component it belongs to.
        format: How it is stored.
        sqnr_db: Signal to quantization noise, in decibels.
        floor_db: The same for rounding to nearest in this format, less a decibel, and at most 100; a lower `sqnr_db`
            means that something went wrong.
        ok: Whether it is that close.
    """

    name: str
    part: Part
    format: str
    sqnr_db: float
    floor_db: float
    ok: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonReport:
    """Every tensor of a model folder beside its source, in no particular order; the manifest describes that source.

    Adapters and corrections that were solved anew have no source, and are not among them.
    """

    tensors: tuple[TensorComparison, ...]


#: Called with how much is done, and how much there is.
OnProgress = Callable[[int, int], None]
#: Compares the model folder with a checkpoint: a folder or a Hugging Face id.
Compare = Callable[[Path, str, OnProgress], ComparisonReport]
