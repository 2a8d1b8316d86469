"""What lies where in the weight files: one entry for every tensor, in `tensors.json`.

Owns the schema. Knows nothing about graphs; running a model does not need it, `inspect` and `verify` do.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Literal

from edgephi.bundle.strict_json import decode, parse
from edgephi.bundle.tensor_ref import TensorRef

TENSORS_NAME = "tensors.json"
Part = Literal["decoder", "adapter_vision", "adapter_speech", "vision", "speech"]


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
        """What it consists of."""
        return tuple(ref for ref in (self.values, self.scales, self.zero_points) if ref is not None)

    @property
    def num_bytes(self) -> int:
        """Bytes of all its parts, alignment left out."""
        return sum(ref.num_bytes for ref in self.tensors)


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorIndex:
    """Every tensor of a bundle."""

    tensors: tuple[StoredTensorInfo, ...]

    def to_json(self) -> str:
        """The text of `tensors.json`, one tensor per line."""
        lines = ",\n".join(json.dumps(dataclasses.asdict(tensor)) for tensor in self.tensors)
        return f'{{"tensors": [\n{lines}\n]}}\n'

    @classmethod
    def from_json(cls, text: str, where: str) -> TensorIndex:
        """Parse and check the text of `tensors.json`.

        Raises:
            ArtifactError: Not JSON, an unknown or missing key, or a wrong type.
        """
        return decode(cls, parse(text, where), where)
