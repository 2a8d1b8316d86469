"""A model folder's weights summed up by component and format."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from edgephi.bundle.tensor_index import Part, StoredTensorInfo, TensorIndex
from edgephi.bundle.tensor_ref import TensorRef

_NAMES: dict[Part, str] = {
    "decoder": "decoder",
    "adapter_vision": "vision adapter",
    "adapter_speech": "speech adapter",
    "vision": "vision encoder",
    "speech": "speech encoder",
    "prefill": "prefill decoder",
    "prefill_vision": "prefill vision",
    "prefill_speech": "prefill speech",
}
_HEAD = "embedding and head"


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageSummary:
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
    total: StorageSummary
    formats: tuple[StorageSummary, ...]

    def to_json(self) -> dict[str, Any]:
        """As one JSON object."""
        return {"name": self.name, **self.total.to_json(), "formats": [stored.to_json() for stored in self.formats]}


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsSummary:
    """All weights: each component, in the order they first come in the index, and all of them together."""

    components: tuple[Component, ...]
    total: StorageSummary

    def to_json(self) -> dict[str, Any]:
        """As one JSON object."""
        return {"components": [part.to_json() for part in self.components], "weights": self.total.to_json()}


def summarize_weights(index: TensorIndex, embedding: TensorRef) -> WeightsSummary:
    """Sum up the tensors of a folder.

    Args:
        index: Lists them.
        embedding: Where the table starts that is the token embedding and the head; it counts as a component of its own.
    """
    groups: dict[str, list[StoredTensorInfo]] = {}
    for tensor in index.tensors:
        groups.setdefault(_HEAD if tensor.values == embedding else _NAMES[tensor.part], []).append(tensor)
    components = tuple(_component(name, tensors) for name, tensors in groups.items())
    return WeightsSummary(components=components, total=_sum(part.total for part in components))


def _component(name: str, tensors: list[StoredTensorInfo]) -> Component:
    by_format: dict[str, list[StorageSummary]] = {}
    for tensor in tensors:
        one = StorageSummary(
            format=tensor.format, num_tensors=1, num_weights=math.prod(tensor.shape), num_bytes=tensor.num_bytes
        )
        by_format.setdefault(tensor.format, []).append(one)
    formats = sorted(map(_sum, by_format.values()), key=lambda stored: -stored.num_weights)
    return Component(name=name, total=_sum(formats), formats=tuple(formats))


def _sum(parts: Iterable[StorageSummary]) -> StorageSummary:
    every = list(parts)
    formats = {part.format for part in every}
    return StorageSummary(
        format=formats.pop() if len(formats) == 1 else None,
        num_tensors=sum(part.num_tensors for part in every),
        num_weights=sum(part.num_weights for part in every),
        num_bytes=sum(part.num_bytes for part in every),
    )
