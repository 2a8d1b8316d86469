"""Builds model.onnx for onnxruntime-genai: the decoder with the embedding, positions and rotary tables inside.

The layers are those of graphs/decoder.py; inputs, outputs and tables are as that library feeds and expects them.

    B batch, S new tokens, T tokens so far, C cache capacity, D head size, V vocabulary, P positions
    inputs   input_ids, position_ids int64 [B, S]    attention_mask int64 [B, T], 1 for tokens and 0 for padding
             past_key_values.N.{key, value} float32 [B, kv_heads, C, D]
    outputs  logits float32 [B, 1, V], after the last token of each sequence
             present.N.{key, value} float32 [B, kv_heads, C, D]
    tables   cos, sin float32 [original P + P, rotary_dim / 2]: short factors first, then the long ones

A sequence of up to the original number of positions reads the first part of the tables, a longer one the second, by an
offset added to its positions. An `If` over two tables would copy the chosen one, 25 MB each, at every token.

Keys that were rotated with short factors must never meet long ones. onnxruntime-genai reads the sequence again when a
generated token crosses 4,096 positions, and only then: where an appended text, a prompt in chunks or a batch crosses,
or another length is the boundary, the graph refuses by reading past the end of a constant. What it cannot see is a
sequence that was longer, was rewound to below the boundary and goes on there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgephi.bundle.manifest import RopeInfo
from edgephi.bundle.tensor_index import StoredTensorInfo
from edgephi.decoder.rope import RotaryTables
from edgephi_export.checkpoint.lazy_tensor import LazyTensor, computed
from edgephi_export.graphs.builder import MICROSOFT, GraphBuilder
from edgephi_export.graphs.decoder import DecoderBuilder, DecoderParts, Positions
from edgephi_export.graphs.linear import apply_linear
from edgephi_quantize.formats import BlockFormat, parse_format

INT32, INT64 = ir.DataType.INT32, ir.DataType.INT64


def build_genai(parts: DecoderParts) -> GraphBuilder:
    """The graph, its weights being planned. `parts.mode` may not be `routed`: there is nothing that could choose."""
    return _GenaiBuilder(parts).build()


@dataclass(frozen=True, slots=True)
class _Lengths:
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


class _GenaiBuilder:
    def __init__(self, parts: DecoderParts) -> None:
        self.parts = parts
        self.rope = parts.config.rope
        self.decoder = DecoderBuilder(parts)
        self.graph = self.decoder.graph

    def build(self) -> GraphBuilder:
        graph = self.graph
        ids = graph.input("input_ids", INT64, ["B", "S"])
        mask = graph.input("attention_mask", INT64, ["B", "T"])
        position_ids = graph.input("position_ids", INT64, ["B", "S"])
        lengths = self._lengths(ids, mask)
        table = self.decoder.place_table()
        normed = self.decoder.add_layers(self._embed(ids, table), self._positions(position_ids, lengths))
        self.decoder.add_outputs(apply_linear(graph, self._last_rows(normed, lengths), table), 1)
        return graph

    def _lengths(self, ids: ir.Value, mask: ir.Value) -> _Lengths:
        graph = self.graph
        counted = graph.op("ReduceSum", mask, graph.constant([1]), name="seqlens_k", keepdims=0)
        seqlens_k = graph.op("Sub", counted, graph.constant(1), name="seqlens_k")
        total, new = self._columns(mask, "total"), self._columns(ids, "new")
        return _Lengths(
            seqlens_k=graph.op("Cast", seqlens_k, name="seqlens_k", to=INT32.value),
            total=total,
            new=new,
            past=graph.op("Sub", total, new, name="past"),
        )

    def _columns(self, value: ir.Value, name: str) -> ir.Value:
        """int64 []: the size of the second axis."""
        return self.graph.op("Squeeze", self.graph.op("Shape", value, name=name, start=1, end=2), name=name)

    def _embed(self, ids: ir.Value, table: StoredTensorInfo) -> ir.Value:
        """float32 [B, S, H], rows of the table that the head multiplies with."""
        graph, format_ = self.graph, parse_format(table.format)
        if not isinstance(format_, BlockFormat):
            return graph.op("Gather", graph.stored(f"{table.name}.weight", table.values), ids, name="embed", axis=0)
        # The operator wants data of as many axes as the scales have. A Reshape would be folded into a second copy of
        # the table; a second constant over the same bytes of the same file is not.
        rows, blocks, block_bytes = table.values.shape
        values = graph.stored(f"{table.name}.rows", replace(table.values, shape=(rows, blocks * block_bytes)))
        stored = {"scales": table.scales, "zero_points": table.zero_points}
        scaling = [graph.stored(f"{table.name}.{name}", ref) for name, ref in stored.items() if ref is not None]
        embeds = graph.op(
            "GatherBlockQuantized", values, ids, *scaling, name="embed", domain=MICROSOFT,
            gather_axis=0, quantize_axis=1, bits=format_.bits, block_size=format_.block_size,
        )  # fmt: skip
        hidden = table.shape[1]
        if hidden % format_.block_size == 0:
            return embeds
        ends = [graph.constant([0]), graph.constant([hidden]), graph.constant([2])]
        return graph.op("Slice", embeds, *ends, name="embed.unpadded")  # the last block of a row is filled up

    def _positions(self, position_ids: ir.Value, lengths: _Lengths) -> Positions:
        graph, place = self.graph, self.parts.plan.place_array
        boundary = graph.constant(self.rope.original_max_positions)
        is_long = graph.op("Greater", lengths.total, boundary, name="is_long")
        offset = graph.op("Mul", graph.op("Cast", is_long, name="offset", to=INT64.value), boundary, name="offset")
        offset = graph.op("Add", offset, self._refused_mixture(is_long, lengths), name="offset")
        cos, sin = (
            graph.stored(tensor.name, place("decoder", tensor, "float32").values)
            for tensor in (rotary_table(self.rope, "cos"), rotary_table(self.rope, "sin"))
        )
        return Positions(
            seqlens_k=lengths.seqlens_k,
            total_sequence_length=graph.op("Cast", lengths.total, name="total", to=INT32.value),
            cos_cache=cos,
            sin_cache=sin,
            position_ids=graph.op("Add", position_ids, offset, name="table_rows"),
        )

    def _refused_mixture(self, is_long: ir.Value, lengths: _Lengths) -> ir.Value:
        """int64 []: 0, or an error of ONNX Runtime that carries the node's name."""
        graph, boundary = self.graph, self.rope.original_max_positions
        has_past = graph.op("Greater", lengths.past, graph.constant(0), name="mixture")
        was_short = graph.op("LessOrEqual", lengths.past, graph.constant(boundary), name="mixture")
        mixed = graph.op("And", graph.op("And", has_past, was_short, name="mixture"), is_long, name="mixture")
        index = graph.op("Cast", mixed, name="mixture", to=INT64.value)
        reason = f"the sequence grew beyond {boundary} tokens: append all of it at once to a new generator"
        return graph.op("Gather", graph.constant([0]), index, name=reason, axis=0)

    def _last_rows(self, normed: ir.Value, lengths: _Lengths) -> ir.Value:
        """float32 [B, 1, H]: the rows whose logits are asked for, so that the head reads one row per sequence.

        Shorter prompts of a batch are padded on the right. Their rows end before the last one; every later pass has
        one row.
        """
        graph = self.graph
        own_last = graph.op("Cast", lengths.seqlens_k, name="last", to=INT64.value)
        row = graph.op("Sub", own_last, lengths.past, name="last")
        row = graph.op("Max", row, graph.constant(0), name="last")  # in later passes `past` counts the padding
        rows = graph.op("Unsqueeze", row, graph.constant([1, 2]), name="last")
        return graph.op("GatherND", normed, rows, name="last", batch_dims=1)


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
