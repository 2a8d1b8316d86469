"""Builds decoder.onnx: the language model with its adapters and the tied head.

B batch, S new positions, R logits rows, C cache capacity, H hidden, D head size, V vocabulary, M rotary positions
inputs   inputs_embeds float [B, S, H]    adapter int64 [] (routed only)    logits_rows int64 [R]
         seqlens_k int32 [B]    total_sequence_length int32 []    cos_cache, sin_cache float [M, rotary_dim / 2]
         past_key_values.N.{key, value} float [B, kv_heads, C, D]
outputs  logits float [B, R, V]    present.N.{key, value} float [B, kv_heads, C, D]
         best float32 [B, R, 2] (for GPUs only, see best_token.py)
float is float32, or float16 where the recipe computes with it; keys and values are int8 where they get scales
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import onnx_ir as ir

from edgephi.bundle.manifest import AdapterMode
from edgephi.bundle.tensor_index import StoredTensorInfo
from edgephi.bundle.tensor_ref import TensorRef
from edgephi_export.checkpoint.config import ModelConfig
from edgephi_export.checkpoint.tensors import WeightSource
from edgephi_export.graphs.adapted_linears import DECODE_FORM, PREFILL_FORM, AdaptedLinears, LinearForm
from edgephi_export.graphs.best_token import NAME as BEST
from edgephi_export.graphs.best_token import best_token
from edgephi_export.graphs.builder import MICROSOFT, Attribute, Axes, GraphBuilder
from edgephi_export.graphs.layers import LayerBuilder
from edgephi_export.graphs.lm_head import apply_head
from edgephi_export.weights.kv_scales import layer_scales
from edgephi_export.weights.plan import WeightPlan
from edgephi_quantize.recipe import HEAD

INT32, INT64 = ir.DataType.INT32, ir.DataType.INT64


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderParts:
    """The parts of a decoder graph.

    Attributes:
        config: The model.
        source: Its weights.
        plan: Gives them places.
        mode: How adapters are built in; `none` leaves them out, whatever the model has.
        cache_scales: Places of the scales of keys and of values, which are then kept in int8; None for floats.
        derived: Gives places to the matrices of a graph for prefill that a device derives; None where they are stored.
    """

    config: ModelConfig
    source: WeightSource
    plan: WeightPlan
    mode: AdapterMode
    cache_scales: tuple[TensorRef, TensorRef] | None = None
    derived: WeightPlan | None = None


def build_decoder(parts: DecoderParts) -> tuple[GraphBuilder, StoredTensorInfo]:
    """The decoder's graph, its weights being planned, and the place of the tied table [V, H]."""
    decoder = DecoderBuilder(parts)
    embeds = decoder.add_embeds()
    rows = decoder.graph.input("logits_rows", INT64, ["R"])
    positions = decoder.add_positions()
    normed, table = decoder.add_layers(embeds, positions, rows), decoder.place_table()
    logits = apply_head(decoder.graph, normed, table)
    if decoder.graph.is_for_gpu:
        best = best_token(decoder.graph, logits, parts.config.decoder.vocab_size)
        decoder.graph.output(best, BEST, ir.DataType.FLOAT, [decoder.batch_axis, "R", 2])
    decoder.add_outputs(logits, "R")
    return decoder.graph, table


def build_prefill(parts: DecoderParts) -> GraphBuilder:
    """The graph that fills the cache with many positions and gives no logits, its weights being planned.

    Its inputs are those of `build_decoder` without `logits_rows`, its outputs the caches. It has no head: rows whose
    logits are asked for go through the other graph.
    """
    decoder = DecoderBuilder(parts, PREFILL_FORM)
    embeds = decoder.add_embeds()
    decoder.fill_caches(embeds, decoder.add_positions())
    decoder.add_caches()
    return decoder.graph


@dataclass(frozen=True, slots=True, kw_only=True)
class Positions:
    """Where the new rows stand; every layer reads it.

    Attributes:
        seqlens_k: int32 [B], total length of each sequence less one.
        total_sequence_length: int32 [], the longest total.
        cos_cache: floats [M, rotary_dim / 2].
        sin_cache: The same.
        position_ids: int64 [B, S], the tables' row of each new row; None where rows follow the cache.
    """

    seqlens_k: ir.Value
    total_sequence_length: ir.Value
    cos_cache: ir.Value
    sin_cache: ir.Value
    position_ids: ir.Value | None = None


class DecoderBuilder:
    """Adds the layers and the head to a new graph; the caller adds what comes before.

    Attributes:
        graph: The graph.
        dtype: What it computes with.
    """

    def __init__(self, parts: DecoderParts, form: LinearForm = DECODE_FORM) -> None:
        self.parts = parts
        self.config = parts.config.decoder
        self.graph = GraphBuilder("decoder", is_for_gpu=parts.plan.recipe.is_for_gpu)
        self.layers = LayerBuilder(graph=self.graph, source=parts.source, plan=parts.plan, part="decoder")
        self.dtype = self.layers.dtype
        self.cache_dtype = self.dtype if parts.cache_scales is None else ir.DataType.INT8
        self.linears = AdaptedLinears(self.layers, parts.mode, parts.config.adapters, form, parts.derived)
        self.caches: list[tuple[ir.Value, ir.Value]] = []

    def add_embeds(self) -> ir.Value:
        """The input rows [B, S, H], and the choice of an adapter where they are routed."""
        embeds = self.graph.input("inputs_embeds", self.dtype, ["B", "S", self.config.hidden_size])
        if self.parts.mode == "routed":
            self.linears.add_input()
        return embeds

    def add_positions(self) -> Positions:
        """The inputs that say where rows stand which follow the cache."""
        rotary: list[int | str] = ["M", self.parts.config.rope.rotary_dim // 2]
        return Positions(
            seqlens_k=self.graph.input("seqlens_k", INT32, ["B"]),
            total_sequence_length=self.graph.input("total_sequence_length", INT32, []),
            cos_cache=self.graph.input("cos_cache", self.dtype, rotary),
            sin_cache=self.graph.input("sin_cache", self.dtype, rotary),
        )

    def add_layers(self, embeds: ir.Value, positions: Positions, rows: ir.Value | None = None) -> ir.Value:
        """All layers and the last norm: floats [B, S, H] to floats [B, R, H].

        `rows`, int64 [R], are those that the caller needs; None for all, and R = S. After the last layer's attention
        the others are of no use to anybody, so they are left out of its matrices too: a fortieth of a prompt's time.
        """
        normed, residual = self._first_norm(embeds), embeds
        last = self.config.num_layers - 1
        for layer in range(last + 1):
            kept = rows if layer == last else None
            normed, residual, present = self._layer(layer, normed, residual, positions, kept)
            self.caches.append(present)
        return normed

    def fill_caches(self, embeds: ir.Value, positions: Positions) -> None:
        """All layers, of the last one only what its keys and values need."""
        normed, residual = self._first_norm(embeds), embeds
        last = self.config.num_layers - 1
        for layer in range(last):
            normed, residual, present = self._layer(layer, normed, residual, positions, None)
            self.caches.append(present)
        qkv = self.linears.apply(normed, f"layers.{last}.self_attn.qkv_proj")
        self.caches.append(self._attention(last, qkv, positions)[1])

    def place_table(self) -> StoredTensorInfo:
        """The place of the tied table [V, H]: embedding and head."""
        return self.parts.plan.place_linear("decoder", self.parts.source.lazy("embed_tokens.weight").renamed(HEAD))

    def add_outputs(self, logits: ir.Value, num_rows: int | str) -> None:
        """The logits [B, num_rows, V], and the caches."""
        self.graph.output(logits, "logits", self.dtype, [self.batch_axis, num_rows, self.config.vocab_size])
        self.add_caches()

    def add_caches(self) -> None:
        """The caches as outputs."""
        for layer, present in enumerate(self.caches):
            for kind, value in zip(("key", "value"), present, strict=True):
                self.graph.output(value, f"present.{layer}.{kind}", self.cache_dtype, self.present_axes)

    def past(self, layer: int, kind: str) -> ir.Value:
        """The `key` or `value` of a layer before this pass [B, kv_heads, C, D]; a graph input."""
        return self.graph.input(f"past_key_values.{layer}.{kind}", self.cache_dtype, self.present_axes)

    @property
    def batch_axis(self) -> str:
        """The name of the batch's axis."""
        return "B"

    @property
    def present_axes(self) -> Axes:
        """The axes of a layer's keys and values after this pass; the buffers are shared, so before it too."""
        return (self.batch_axis, self.config.num_kv_heads, "C", self.config.head_size)

    def _first_norm(self, embeds: ir.Value) -> ir.Value:
        name = "layers.0.input_layernorm"
        return self.graph.op(
            "SimplifiedLayerNormalization", embeds, self.layers.weight(f"{name}.weight"),
            name=name, axis=-1, epsilon=self.config.rms_norm_eps, stash_type=1,
        )  # fmt: skip

    def _skip_norm(self, residual: ir.Value, update: ir.Value, name: str) -> tuple[ir.Value, ir.Value]:
        """RMSNorm of `residual + update`, and that sum."""
        normed, _, _, total = self.graph.ops(
            "SkipSimplifiedLayerNormalization", residual, update, self.layers.weight(f"{name}.weight"),
            count=4, name=name, domain=MICROSOFT, epsilon=self.config.rms_norm_eps,
        )  # fmt: skip
        return normed, total

    def _layer(
        self, layer: int, normed: ir.Value, residual: ir.Value, positions: Positions, rows: ir.Value | None
    ) -> tuple[ir.Value, ir.Value, tuple[ir.Value, ir.Value]]:
        """One block; gives the next layer's normed input, the residual stream, and the layer's cache."""
        prefix = f"layers.{layer}"
        qkv = self.linears.apply(normed, f"{prefix}.self_attn.qkv_proj")
        attended, present = self._attention(layer, qkv, positions)
        if rows is not None:
            attended = self.graph.op("Gather", attended, rows, name=f"{prefix}.self_attn.rows", axis=1)
            residual = self.graph.op("Gather", residual, rows, name=f"{prefix}.residual.rows", axis=1)
        update = self.linears.apply(attended, f"{prefix}.self_attn.o_proj")
        normed, residual = self._skip_norm(residual, update, f"{prefix}.post_attention_layernorm")
        gate, up = self.linears.gate_and_up(normed, f"{prefix}.mlp.gate_up_proj")
        gate = self.layers.swish(gate, f"{prefix}.mlp.gate")
        update = self.linears.apply(self.graph.op("Mul", gate, up, name=f"{prefix}.mlp"), f"{prefix}.mlp.down_proj")
        last = layer == self.config.num_layers - 1
        following = "norm" if last else f"layers.{layer + 1}.input_layernorm"
        normed, residual = self._skip_norm(residual, update, following)
        return normed, residual, present

    def _attention(self, layer: int, qkv: ir.Value, positions: Positions) -> tuple[ir.Value, tuple[ir.Value, ir.Value]]:
        past = [self.past(layer, kind) for kind in ("key", "value")]
        scales, quantized = self._cache_scales(layer)
        others = [positions.position_ids, *scales] if scales or positions.position_ids is not None else []
        attended, key, value = self.graph.ops(
            "GroupQueryAttention", qkv, None, None, *past, positions.seqlens_k, positions.total_sequence_length,
            positions.cos_cache, positions.sin_cache, *others,
            count=3, name=f"layers.{layer}.self_attn", domain=MICROSOFT,
            num_heads=self.config.num_heads, kv_num_heads=self.config.num_kv_heads, do_rotary=1, rotary_interleaved=0,
            scale=1.0 / math.sqrt(self.config.head_size), **quantized,
        )  # fmt: skip
        return attended, (key, value)

    def _cache_scales(self, layer: int) -> tuple[list[ir.Value | None], dict[str, Attribute]]:
        """Inputs and attributes that make an attention keep its keys and values in int8; none for floats."""
        if self.parts.cache_scales is None:
            return [], {}
        stored = [
            self.graph.stored(f"layers.{layer}.{kind}_scale", layer_scales(place, layer))
            for kind, place in zip(("key", "value"), self.parts.cache_scales, strict=True)
        ]
        no_bias_no_sink = [None, None]
        per_channel: dict[str, Attribute] = {
            "k_quant_type": "PER_CHANNEL",
            "v_quant_type": "PER_CHANNEL",
            "kv_cache_bit_width": 8,
        }
        return [*no_bias_no_sink, *stored], per_channel
