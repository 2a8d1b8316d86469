"""Builds model.onnx for onnxruntime-genai: the decoder with the embedding, positions and rotary tables inside.

The layers are those of graphs/decoder.py; inputs, outputs and tables are as that library feeds and expects them.

    B batch, S new tokens, T tokens so far, C cache capacity, D head size, V vocabulary, P positions
    inputs   input_ids int64 [B, S] (text), or inputs_embeds float32 [B, S, H] with input_ids where adapters are routed
             position_ids int64 [B, S]    attention_mask int64 [B, T], 1 for tokens and 0 for padding
             past_key_values.N.{key, value} float32 [B, kv_heads, C, D]
    outputs  logits float32 [B, 1, V], after the last token of each sequence
             present.N.{key, value} float32 [B, kv_heads, C, D]
    tables   cos, sin float32 [original P + P, rotary_dim / 2]: short factors first, then the long ones

onnxruntime-genai reads the sequence again when a generated token crosses 4,096 positions, and only then: where an
appended text, a prompt in chunks or a batch crosses, or another length is the boundary, the graph refuses (see
graphs/rotary_positions.py). What it cannot see is a sequence that was longer, was rewound to below the boundary and
goes on there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import onnx_ir as ir

from edgephi.bundle.tensor_index import StoredTensorInfo
from edgephi_export.graphs.builder import MICROSOFT, GraphBuilder
from edgephi_export.graphs.decoder import DecoderBuilder, DecoderParts
from edgephi_export.graphs.linear import apply_linear
from edgephi_export.graphs.rotary_positions import Lengths, RotaryPositions
from edgephi_export.layouts.genai.adapter_switch import AdapterSwitch
from edgephi_quantize.formats import BlockFormat, parse_format

FLOAT, INT64 = ir.DataType.FLOAT, ir.DataType.INT64
_REMEDY = "append all of it at once to a new generator"


def build_text(parts: DecoderParts) -> GraphBuilder:
    """The graph that takes token ids, its weights being planned.

    `parts.mode` may not be `routed`: there is nothing that could choose.
    """
    builder = _GenaiBuilder(parts)
    ids = builder.graph.input("input_ids", INT64, ["B", "S"])
    builder.add_decoder(ids, lambda table: embed_tokens(builder.graph, table, ids))
    return builder.graph


def build_decoder(parts: DecoderParts) -> tuple[GraphBuilder, StoredTensorInfo]:
    """The graph that takes embeddings, its weights being planned, and the place of the tied table.

    Where adapters are routed, it also takes the token ids and the states of `AdapterSwitch`.
    """
    builder = _GenaiBuilder(parts)
    graph, decoder = builder.graph, parts.config.decoder
    embeds = graph.input("inputs_embeds", FLOAT, ["B", "S", decoder.hidden_size])
    switch = None
    if parts.mode == "routed":
        switch = AdapterSwitch(graph, decoder.num_layers)
        builder.decoder.linears.choose_by(switch.add(graph.input("input_ids", INT64, ["B", "S"])))
    table = builder.add_decoder(embeds, lambda _: embeds)
    if switch is not None:
        switch.add_outputs()
    return graph, table


def embed_tokens(graph: GraphBuilder, table: StoredTensorInfo, ids: ir.Value) -> ir.Value:
    """float32 [B, S, H], rows of the table that the head multiplies with."""
    format_ = parse_format(table.format)
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


class _GenaiBuilder:
    def __init__(self, parts: DecoderParts) -> None:
        self.parts = parts
        self.decoder = DecoderBuilder(parts)
        self.graph = self.decoder.graph

    def add_decoder(self, new: ir.Value, embed: Callable[[StoredTensorInfo], ir.Value]) -> StoredTensorInfo:
        """Everything behind the input [B, S, ...] of new tokens, of whose table `embed` makes rows."""
        graph = self.graph
        mask = graph.input("attention_mask", INT64, ["B", "T"])
        position_ids = graph.input("position_ids", INT64, ["B", "S"])
        rotary = RotaryPositions(graph, self.parts.plan, self.parts.config.rope, _REMEDY)
        lengths = rotary.count(new, mask)
        table = self.decoder.place_table()
        normed = self.decoder.add_layers(embed(table), rotary.place(position_ids, lengths))
        self.decoder.add_outputs(apply_linear(graph, self._last_rows(normed, lengths), table), 1)
        return table

    def _last_rows(self, normed: ir.Value, lengths: Lengths) -> ir.Value:
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
