"""Builds the language model as one graph with the names of transformers: token ids in, logits out.

    B batch, S new tokens, P tokens before them, R rows of logits, D head size, V vocabulary
    inputs   input_ids, position_ids int64 [B, S]    attention_mask int64 [B, P + S], ones
             past_key_values.N.{key, value} float32 [B, kv_heads, P, D]
             num_logits_to_keep int64 [], where the runtime gives it: the last rows of logits; 0 for all
    outputs  logits float32 [B, R, V]    present.N.{key, value} float32 [B, kv_heads, P + S, D]

The attention operator takes padding behind a sequence only, and these runtimes put it before: a mask with zeros is
refused instead of answered wrongly. So is a reply that grows beyond LongRoPE's boundary, as no runtime reads the
sequence again there (see rotary_positions.py).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from edgephi_export.graphs.builder import Axes, GraphBuilder
from edgephi_export.graphs.decoder import DecoderBuilder, DecoderParts
from edgephi_export.graphs.embedding import embedding_rows
from edgephi_export.graphs.linear import apply_linear
from edgephi_export.graphs.rotary_positions import RotaryPositions, refusal

INT64 = ir.DataType.INT64
# The names that optimum and transformers.js look for among the axes.
_BATCH, _NEW, _PAST, _SO_FAR = (
    "batch_size",
    "sequence_length",
    "past_sequence_length",
    "past_sequence_length + sequence_length",
)
_REMEDY = "give all of it at once, without a cache"
_PADDING = "padding is not supported: give prompts one by one, or prompts of one length"


@dataclass(frozen=True, slots=True, kw_only=True)
class CausalForm:
    """How a runtime feeds the graph.

    Attributes:
        max_positions: The longest sequence that the tables serve; the model's own context where that is shorter.
        any_heads: Whether an empty cache may come with any number of heads.
        gives_num_logits: Whether the runtime asks for some rows of logits only.
    """

    max_positions: int
    any_heads: bool = False
    gives_num_logits: bool = False


def build_causal_lm(parts: DecoderParts, form: CausalForm) -> GraphBuilder:
    """The graph, its weights being planned.

    Args:
        parts: The model; `parts.mode` may not be `routed`, as nothing in the graph could choose.
        form: How it is fed.
    """
    decoder = _CausalDecoder(parts, form)
    graph, rope = decoder.graph, parts.config.rope
    ids = graph.input("input_ids", INT64, [_BATCH, _NEW])
    mask = graph.input("attention_mask", INT64, [_BATCH, _SO_FAR])
    position_ids = graph.input("position_ids", INT64, [_BATCH, _NEW])
    rope = replace(rope, max_positions=min(rope.max_positions, form.max_positions))
    rotary = RotaryPositions(graph, parts.plan, rope, _REMEDY)
    checked = graph.op("Add", position_ids, _refused_padding(graph, mask), name="positions")
    positions = rotary.place(checked, rotary.count(ids, mask))
    table = decoder.place_table()
    normed = decoder.add_layers(embedding_rows(graph, ids, table), positions)
    if form.gives_num_logits:
        normed = _last_rows(graph, normed)
    decoder.add_outputs(apply_linear(graph, normed, table), "num_logits" if form.gives_num_logits else _NEW)
    return graph


class _CausalDecoder(DecoderBuilder):
    """With caches that grow by a copy: what a pass gives is longer than what it got."""

    def __init__(self, parts: DecoderParts, form: CausalForm) -> None:
        super().__init__(parts)
        self.form = form

    def past(self, layer: int, kind: str) -> ir.Value:
        heads = "kv_heads" if self.form.any_heads else self.config.num_kv_heads
        axes = (_BATCH, heads, _PAST, self.config.head_size)
        given = self.graph.input(f"past_key_values.{layer}.{kind}", self.cache_dtype, axes)
        if not self.form.any_heads:
            return given
        shape = self.graph.shared("past.shape", lambda: self._true_shape(given))
        past = self.graph.op("Reshape", given, shape, name=f"past.{layer}.{kind}", allowzero=1)
        # Shape inference does not read a computed shape, and the attention operator wants the head size.
        past.type = ir.TensorType(self.cache_dtype)
        past.shape = ir.Shape((_BATCH, self.config.num_kv_heads, _PAST, self.config.head_size))
        return past

    @property
    def batch_axis(self) -> str:
        return _BATCH

    @property
    def present_axes(self) -> Axes:
        return (_BATCH, self.config.num_kv_heads, _SO_FAR, self.config.head_size)

    def _true_shape(self, given: ir.Value) -> ir.Value:
        """int64 [4]: an empty cache of any number of heads becomes one of the model's, a filled one stays as it is."""
        graph = self.graph
        batch, past = (graph.op("Shape", given, name="past.shape", start=axis, end=axis + 1) for axis in (0, 2))
        heads, size = graph.constant([self.config.num_kv_heads]), graph.constant([self.config.head_size])
        return graph.op("Concat", batch, heads, past, size, name="past.shape", axis=0)


def _refused_padding(graph: GraphBuilder, mask: ir.Value) -> ir.Value:
    least = graph.op("ReduceMin", mask, name="padding", keepdims=0)
    return refusal(graph, graph.op("Less", least, graph.constant(1), name="padding"), _PADDING)


def _last_rows(graph: GraphBuilder, normed: ir.Value) -> ir.Value:
    """float32 [B, R, H]: as many rows as are asked for, counted from the end; all of them for 0."""
    count = graph.input("num_logits_to_keep", INT64, [])
    start = graph.op("Unsqueeze", graph.op("Neg", count, name="last"), graph.constant([0]), name="last")
    end = graph.constant([np.iinfo(np.int64).max])
    return graph.op("Slice", normed, start, end, graph.constant([1]), name="last")
