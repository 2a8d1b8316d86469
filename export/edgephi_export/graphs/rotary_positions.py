"""Rotary positions in a graph for runtimes that keep no tables: LongRoPE's two regimes, chosen by the total length.

    B batch, S new tokens, T tokens so far, P positions
    tables   cos, sin float32 [original P + P, rotary_dim / 2]: short factors first, then the long ones

A sequence of up to the original number of positions reads the first part of the tables, a longer one the second, by an
offset added to its positions. An `If` over two tables would copy the chosen one, 25 MB each, at every token.

Keys that were rotated with short factors must never meet long ones, so a pass that would cross the boundary behind
cached tokens is refused: the graph reads past the end of a constant, in a node whose name is the message. So is a
sequence that is longer than the tables: the operator would read behind them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgephi.bundle.manifest import RopeInfo
from edgephi.decoder.rope import RotaryTables
from edgephi_export.checkpoint.lazy_tensor import LazyTensor, computed
from edgephi_export.graphs.builder import GraphBuilder
from edgephi_export.graphs.decoder import Positions
from edgephi_export.weights.plan import WeightPlan

INT32, INT64 = ir.DataType.INT32, ir.DataType.INT64


@dataclass(frozen=True, slots=True)
class Lengths:
    """Lengths of this pass, padding included where nothing else is said.

    Attributes:
        seqlens_k: int32 [B], tokens of each sequence so far, without padding, less one.
        total: int64 [], tokens so far.
        new: int64 [], tokens of this pass.
        past: int64 [], tokens before it.
    """

    seqlens_k: ir.Value
    total: ir.Value
    new: ir.Value
    past: ir.Value


class RotaryPositions:
    """Adds lengths, tables and the rows that attention reads.

    Args:
        graph: Gets the nodes.
        plan: Gives the tables their places.
        rope: The model's positions.
        remedy: How a user of the runtime reads a sequence anew, for the message where one crosses the boundary.
    """

    def __init__(self, graph: GraphBuilder, plan: WeightPlan, rope: RopeInfo, remedy: str) -> None:
        self.graph = graph
        self.plan = plan
        self.rope = rope
        self.remedy = remedy

    def count(self, ids: ir.Value, mask: ir.Value) -> Lengths:
        """Lengths from int64 [B, S] and a mask int64 [B, T], 1 for tokens and 0 for padding."""
        graph = self.graph
        counted = graph.op("ReduceSum", mask, graph.constant([1]), name="seqlens_k", keepdims=0)
        seqlens_k = graph.op("Sub", counted, graph.constant(1), name="seqlens_k")
        total, new = self._columns(mask, "total"), self._columns(ids, "new")
        return Lengths(
            seqlens_k=graph.op("Cast", seqlens_k, name="seqlens_k", to=INT32.value),
            total=total,
            new=new,
            past=graph.op("Sub", total, new, name="past"),
        )

    def place(self, position_ids: ir.Value, lengths: Lengths) -> Positions:
        """Where rows of int64 [B, S] stand, or an error of ONNX Runtime where they cannot be right."""
        graph, boundary = self.graph, self.graph.constant(self.rope.original_max_positions)
        is_long = graph.op("Greater", lengths.total, boundary, name="is_long")
        offset = graph.op("Mul", graph.op("Cast", is_long, name="offset", to=INT64.value), boundary, name="offset")
        for refused in (self._refused_mixture(is_long, lengths), self._refused_length(lengths)):
            offset = graph.op("Add", offset, refused, name="offset")
        cos, sin = (
            graph.stored(tensor.name, self.plan.place_array("decoder", tensor, "float32").values)
            for tensor in (rotary_table(self.rope, "cos"), rotary_table(self.rope, "sin"))
        )
        return Positions(
            seqlens_k=lengths.seqlens_k,
            total_sequence_length=graph.op("Cast", lengths.total, name="total", to=INT32.value),
            cos_cache=cos,
            sin_cache=sin,
            position_ids=graph.op("Add", position_ids, offset, name="table_rows"),
        )

    def _columns(self, value: ir.Value, name: str) -> ir.Value:
        """int64 []: the size of the second axis."""
        return self.graph.op("Squeeze", self.graph.op("Shape", value, name=name, start=1, end=2), name=name)

    def _refused_mixture(self, is_long: ir.Value, lengths: Lengths) -> ir.Value:
        graph, boundary = self.graph, self.rope.original_max_positions
        has_past = graph.op("Greater", lengths.past, graph.constant(0), name="mixture")
        was_short = graph.op("LessOrEqual", lengths.past, graph.constant(boundary), name="mixture")
        mixed = graph.op("And", graph.op("And", has_past, was_short, name="mixture"), is_long, name="mixture")
        return refusal(graph, mixed, f"the sequence grew beyond {boundary} tokens: {self.remedy}")

    def _refused_length(self, lengths: Lengths) -> ir.Value:
        graph, longest = self.graph, self.rope.max_positions
        beyond = graph.op("Greater", lengths.total, graph.constant(longest), name="too_long")
        return refusal(graph, beyond, f"the sequence is longer than the {longest} tokens that this model takes")


def refusal(graph: GraphBuilder, condition: ir.Value, reason: str) -> ir.Value:
    """int64 []: 0, or where the bool [] holds an error of ONNX Runtime that carries the node's name, `reason`."""
    index = graph.op("Cast", condition, name="refusal", to=INT64.value)
    return graph.op("Gather", graph.constant([0]), index, name=reason, axis=0)


def rotary_table(rope: RopeInfo, kind: str) -> LazyTensor:
    """The `cos` or `sin` of all positions, [original P + P, rotary_dim / 2]; without long factors where none apply."""
    boundary, positions = rope.original_max_positions, rope.max_positions
    spans = [min(boundary, positions), positions if positions > boundary else 0]

    def compute() -> NDArray[np.float32]:
        tables, parts = RotaryTables(rope, "float32"), []
        for length in filter(None, spans):
            tables.prepare(length)
            parts.append(getattr(tables, kind)[:length])
        return np.concatenate(parts)

    return computed(f"rotary.{kind}", (sum(spans), rope.rotary_dim // 2), compute, 0)
