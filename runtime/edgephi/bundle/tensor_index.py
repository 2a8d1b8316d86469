"""`tensors.json`: every tensor of the model, and every constant of a graph that lies in a weight file.

A tensor is what the checkpoint has, a constant is what a graph takes: the head is one tensor and several constants, the
codes and the scales of a matrix are one tensor and two constants. So no graph has to be parsed to find its weights.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from edgephi.base.json_file import decode, parse_json
from edgephi.bundle.manifest import Manifest
from edgephi.bundle.tensor_ref import TensorRef

TENSORS_NAME = "tensors.json"
Part = Literal[
    "decoder", "adapter_vision", "adapter_speech", "vision", "speech", "prefill", "prefill_vision", "prefill_speech"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTensorInfo:
    """One tensor of the model and the places of its bytes.

    Attributes:
        name: Canonical name, without `.weight` for matrices of linears.
        part: The component it belongs to.
        format: `float32`, `float16`, `int8:rows`, or bits and block size as in `int4:32` and `int4:32:symmetric`.
        shape: Its own axes; [outputs, inputs] for the matrix of a linear, however it is stored.
        values: The floats or codes.
        scales: Of the codes; None for floats.
        zero_points: Of the codes, packed; None for floats and symmetric codes.
    """

    name: str
    part: Part
    format: str
    shape: tuple[int, ...]
    values: TensorRef
    scales: TensorRef | None
    zero_points: TensorRef | None

    @property
    def tensors(self) -> tuple[TensorRef, ...]:
        """Its places in weight files."""
        return tuple(ref for ref in (self.values, self.scales, self.zero_points) if ref is not None)

    @property
    def num_bytes(self) -> int:
        """Bytes of all its parts, alignment left out."""
        return sum(ref.num_bytes for ref in self.tensors)


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphConstant:
    """A constant of one or more graphs, branches included, whose values lie in a weight file.

    Attributes:
        name: In every graph that has it.
        graphs: Their files.
        tensor: Place, type and shape.
        length: Bytes; what type and shape make.
    """

    name: str
    graphs: tuple[str, ...]
    tensor: TensorRef
    length: int

    def __post_init__(self) -> None:
        if self.length != self.tensor.num_bytes:
            raise ValueError(
                f"{self.name} has {self.length:,} bytes; {self.tensor.dtype} of shape {list(self.tensor.shape)} takes "
                f"{self.tensor.num_bytes:,}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorIndex:
    """Every tensor of a bundle, and every constant of its graphs that lies in a file."""

    tensors: tuple[StoredTensorInfo, ...]
    constants: tuple[GraphConstant, ...]

    def constants_of(self, graph: str) -> tuple[GraphConstant, ...]:
        """The constants of one graph file."""
        return tuple(constant for constant in self.constants if graph in constant.graphs)

    def to_json(self) -> str:
        """The text of `tensors.json`, one tensor or constant per line."""
        return f'{{"tensors": [\n{_lines(self.tensors)}\n],\n"constants": [\n{_lines(self.constants)}\n]}}\n'

    @classmethod
    def from_json(cls, text: str, where: str) -> TensorIndex:
        """Parse and check the text of `tensors.json`.

        Raises:
            ArtifactError: Not JSON, an unknown or missing key, a wrong type, or a length that is not the shape's.
        """
        return decode(cls, parse_json(text, where), where)


def _lines(items: Iterable[StoredTensorInfo | GraphConstant]) -> str:
    return ",\n".join(json.dumps(dataclasses.asdict(item)) for item in items)


def graph_parts(manifest: Manifest, graph: str) -> tuple[Part, ...]:
    """The components whose weights one graph file takes."""
    if manifest.vision is not None and graph == manifest.vision.graph:
        return ("vision",)
    if manifest.speech is not None and graph == manifest.speech.graph:
        return ("speech",)
    is_routed = manifest.adapters.mode == "routed"
    pairs = [pair for pair in (manifest.decoder, manifest.decoder.int8_cache) if pair is not None]
    if graph in {pair.prefill_graph for pair in pairs}:
        return ("prefill", "prefill_vision", "prefill_speech") if is_routed else ("prefill",)
    routed = is_routed and graph in {pair.graph for pair in pairs}
    return ("decoder", "adapter_vision", "adapter_speech") if routed else ("decoder",)
