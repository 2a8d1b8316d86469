"""The part of a manifest that describes a graph for prefill whose weights a device derives from the decoder's own."""

from __future__ import annotations

from dataclasses import dataclass

#: Starts the names of its matrices, which are those of the decoder behind it.
PREFILL = "prefill."


@dataclass(frozen=True, slots=True, kw_only=True)
class DerivedPrefillInfo:
    """Files of the folder; the weights are in none of them.

    Attributes:
        graph: Does what `DecoderInfo.prefill_graph` does.
        int8_graph: The same with keys and values in int8; None where the folder was made without them.
        index: A `TensorIndex` in JSON: the tensors to derive, and all constants of the two graphs.
    """

    graph: str
    int8_graph: str | None
    index: str

    @property
    def files(self) -> tuple[str, ...]:
        """All of them."""
        return tuple(name for name in (self.graph, self.int8_graph, self.index) if name is not None)
