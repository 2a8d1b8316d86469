"""What a model folder's weights are made of: the table of `edgephi inspect`.

Owns the summing up of `tensors.json` by component and format, and its lines. Knows nothing about the folder.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from edgephi.base.units import human_bytes, human_count
from edgephi.bundle.tensor_index import Part, StoredTensorInfo, TensorIndex
from edgephi.bundle.tensor_ref import TensorRef

_NAMES: dict[Part, str] = {
    "decoder": "decoder",
    "adapter_vision": "vision adapter",
    "adapter_speech": "speech adapter",
    "vision": "vision encoder",
    "speech": "speech encoder",
}
_HEAD = "embedding and head"
_HEADER = ("component", "stored as", "tensors", "weights", "bits/weight", "bytes")
_WIDTHS = (18, 17, 7, 8, 11, 9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """Some tensors summed up.

    Attributes:
        format: Of all of them; None where they differ.
        num_tensors: How many.
        num_weights: Their elements before quantization.
        num_bytes: Codes, scales and zero points together; alignment left out.
    """

    format: str | None
    num_tensors: int
    num_weights: int
    num_bytes: int

    @property
    def bits_per_weight(self) -> float:
        """Scales and zero points included."""
        return 8 * self.num_bytes / self.num_weights if self.num_weights else 0.0

    def to_json(self) -> dict[str, Any]:
        """As one JSON object."""
        return {
            "format": self.format,
            "tensors": self.num_tensors,
            "weights": self.num_weights,
            "bits_per_weight": self.bits_per_weight,
            "bytes": self.num_bytes,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """A part of the model that is loaded as one, or shared as one; `formats` by falling number of weights."""

    name: str
    total: Stored
    formats: tuple[Stored, ...]

    def to_json(self) -> dict[str, Any]:
        """As one JSON object."""
        return {"name": self.name, **self.total.to_json(), "formats": [stored.to_json() for stored in self.formats]}


def components(index: TensorIndex, embedding: TensorRef) -> tuple[Component, ...]:
    """The components in the order they first come in the index, the table that starts with `embedding` apart."""
    groups: dict[str, list[StoredTensorInfo]] = {}
    for tensor in index.tensors:
        groups.setdefault(_HEAD if tensor.values == embedding else _NAMES[tensor.part], []).append(tensor)
    return tuple(_component(name, tensors) for name, tensors in groups.items())


def overall(parts: Iterable[Component]) -> Stored:
    """All components together."""
    return _sum(stored for part in parts for stored in part.formats)


def table(parts: tuple[Component, ...]) -> list[str]:
    """Lines of at most 80 characters: a component, below it its formats where there are several, at last the total."""
    rows: list[tuple[str, ...]] = [_HEADER]
    for part in parts:
        rows.append(_cells(part.name, part.total))
        rows += [_cells("", stored) for stored in part.formats if len(part.formats) > 1]
    rows.append(_cells("total", overall(parts)))
    return [_line(row) for row in rows]


def _component(name: str, tensors: list[StoredTensorInfo]) -> Component:
    by_format: dict[str, list[Stored]] = {}
    for tensor in tensors:
        one = Stored(
            format=tensor.format, num_tensors=1, num_weights=math.prod(tensor.shape), num_bytes=tensor.num_bytes
        )
        by_format.setdefault(tensor.format, []).append(one)
    formats = sorted(map(_sum, by_format.values()), key=lambda stored: -stored.num_weights)
    return Component(name=name, total=_sum(formats), formats=tuple(formats))


def _sum(parts: Iterable[Stored]) -> Stored:
    every = list(parts)
    formats = {part.format for part in every}
    return Stored(
        format=formats.pop() if len(formats) == 1 else None,
        num_tensors=sum(part.num_tensors for part in every),
        num_weights=sum(part.num_weights for part in every),
        num_bytes=sum(part.num_bytes for part in every),
    )


def _cells(name: str, stored: Stored) -> tuple[str, ...]:
    return (
        name,
        stored.format or "mixed",
        f"{stored.num_tensors:,}",
        human_count(stored.num_weights),
        f"{stored.bits_per_weight:.2f}",
        human_bytes(stored.num_bytes),
    )


def _line(cells: tuple[str, ...]) -> str:
    return "  ".join(_padded(cells)).rstrip()


def _padded(cells: tuple[str, ...]) -> Iterator[str]:
    for column, (cell, width) in enumerate(zip(cells, _WIDTHS, strict=True)):
        yield cell.ljust(width) if column < 2 else cell.rjust(width)
