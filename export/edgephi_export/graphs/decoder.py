"""Builds decoder.onnx: the language model with its adapters and the tied head.

B batch, S new positions, R logits rows, C cache capacity, H hidden, D head size, V vocabulary, M rotary positions
inputs   inputs_embeds float [B, S, H]    adapter int64 [] (routed only)    logits_rows int64 [R]
         seqlens_k int32 [B]    total_sequence_length int32 []    cos_cache, sin_cache float [M, rotary_dim / 2]
         past_key_values.N.{key, value} float [B, kv_heads, C, D]
outputs  logits float [B, R, V]    present.N.{key, value} float [B, kv_heads, C, D]
float is float32, or float16 where the recipe computes with it; keys and values are int8 where they get scales
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import onnx_ir as ir

from edgephi.bundle.manifest import ADAPTER_IDS, AdapterMode
from edgephi.bundle.tensor_index import Part, StoredTensorInfo
from edgephi.bundle.tensor_ref import TensorRef
from edgephi_export.checkpoint.config import ModelConfig
from edgephi_export.checkpoint.tensors import WeightSource
from edgephi_export.graphs.adapters import AdapterPair, merged
from edgephi_export.graphs.builder import MICROSOFT, Attribute, GraphBuilder
from edgephi_export.graphs.layers import LayerBuilder
from edgephi_export.graphs.lm_head import apply_head
from edgephi_export.weights.kv_scales import layer_scales
from edgephi_export.weights.plan import WeightPlan
from edgephi_quantize.recipe import HEAD

INT32, INT64 = ir.DataType.INT32, ir.DataType.INT64
_ADAPTER_PARTS: dict[str, Part] = {"vision": "adapter_vision", "speech": "adapter_speech"}


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderParts:
    """The parts of a decoder graph.

    Attributes:
        config: The model.
        source: Its weights.
        plan: Gives them places.
        mode: How adapters are built in; `none` leaves them out, whatever the model has.
        cache_scales: Places of the scales of keys and of values, which are then kept in int8; None for floats.
    """

    config: ModelConfig
    source: WeightSource
    plan: WeightPlan
    mode: AdapterMode
    cache_scales: tuple[TensorRef, TensorRef] | None = None


def build_decoder(parts: DecoderParts) -> tuple[GraphBuilder, StoredTensorInfo]:
    """The decoder's graph, its weights being planned, and the place of the tied table [V, H]."""
    decoder = DecoderBuilder(parts)
    graph, dtype = decoder.graph, decoder.dtype
    embeds = graph.input("inputs_embeds", dtype, ["B", "S", parts.config.decoder.hidden_size])
    if parts.mode == "routed":
        decoder.add_adapter_input()
    rows = graph.input("logits_rows", INT64, ["R"])
    rotary: list[int | str] = ["M", parts.config.rope.rotary_dim // 2]
    positions = Positions(
        seqlens_k=graph.input("seqlens_k", INT32, ["B"]),
        total_sequence_length=graph.input("total_sequence_length", INT32, []),
        cos_cache=graph.input("cos_cache", dtype, rotary),
        sin_cache=graph.input("sin_cache", dtype, rotary),
    )
    normed, table = decoder.add_layers(embeds, positions, rows), decoder.place_table()
    decoder.add_outputs(apply_head(graph, normed, table), "R")
    return graph, table


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

    def __init__(self, parts: DecoderParts) -> None:
        self.parts = parts
        self.config = parts.config.decoder
        self.graph = GraphBuilder("decoder")
        self.layers = LayerBuilder(graph=self.graph, source=parts.source, plan=parts.plan, part="decoder")
        self.dtype = self.layers.dtype
        self.cache_dtype = self.dtype if parts.cache_scales is None else ir.DataType.INT8
        self.is_adapter: dict[str, ir.Value] = {}
        self.any_adapter: ir.Value | None = None
        self.caches: list[tuple[ir.Value, ir.Value]] = []

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

    def place_table(self) -> StoredTensorInfo:
        """The place of the tied table [V, H]: embedding and head."""
        return self.parts.plan.place_linear("decoder", self.parts.source.lazy("embed_tokens.weight").renamed(HEAD))

    def add_outputs(self, logits: ir.Value, num_rows: int | str) -> None:
        """The logits [B, num_rows, V], and the caches."""
        self.graph.output(logits, "logits", self.dtype, ["B", num_rows, self.config.vocab_size])
        for layer, present in enumerate(self.caches):
            for kind, value in zip(("key", "value"), present, strict=True):
                self.graph.output(value, f"present.{layer}.{kind}", self.cache_dtype, self._cache_axes)

    @property
    def _cache_axes(self) -> list[int | str]:
        return ["B", self.config.num_kv_heads, "C", self.config.head_size]

    def add_adapter_input(self) -> None:
        """The input that chooses among the adapters; before `add_layers`, where they are routed."""
        adapter = self.graph.input("adapter", INT64, [])
        for info in self.parts.config.adapters:
            number = self.graph.constant(ADAPTER_IDS[info.name])
            self.is_adapter[info.name] = self.graph.op("Equal", adapter, number, name=f"is_{info.name}")
        first, *others = self.is_adapter.values()
        self.any_adapter = self.graph.op("Or", first, others[0], name="any_adapter") if others else first

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
        attended, present = self._attention(layer, self._linear(normed, f"{prefix}.self_attn.qkv_proj"), positions)
        if rows is not None:
            attended = self.graph.op("Gather", attended, rows, name=f"{prefix}.self_attn.rows", axis=1)
            residual = self.graph.op("Gather", residual, rows, name=f"{prefix}.residual.rows", axis=1)
        update = self._linear(attended, f"{prefix}.self_attn.o_proj")
        normed, residual = self._skip_norm(residual, update, f"{prefix}.post_attention_layernorm")
        gate_up = self._linear(normed, f"{prefix}.mlp.gate_up_proj")
        gate, up = self.layers.halves(gate_up, f"{prefix}.mlp")
        gate = self.layers.swish(gate, f"{prefix}.mlp.gate")
        update = self._linear(self.graph.op("Mul", gate, up, name=f"{prefix}.mlp"), f"{prefix}.mlp.down_proj")
        last = layer == self.config.num_layers - 1
        following = "norm" if last else f"layers.{layer + 1}.input_layernorm"
        normed, residual = self._skip_norm(residual, update, following)
        return normed, residual, present

    def _attention(self, layer: int, qkv: ir.Value, positions: Positions) -> tuple[ir.Value, tuple[ir.Value, ir.Value]]:
        past = [
            self.graph.input(f"past_key_values.{layer}.{kind}", self.cache_dtype, self._cache_axes)
            for kind in ("key", "value")
        ]
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

    def _linear(self, inputs: ir.Value, name: str) -> ir.Value:
        """A decoder linear with what the adapter mode adds to it."""
        parts, source = self.parts, self.parts.source
        matrix = source.lazy(f"{name}.weight").renamed(name)
        if parts.mode == "none":
            return self.layers.apply(inputs, matrix)
        pairs: dict[str, AdapterPair] = {info.name: AdapterPair(source, name, info) for info in parts.config.adapters}
        if parts.mode != "routed":
            return self.layers.apply(inputs, merged(matrix, pairs[parts.mode]))
        return self._route(inputs, self.layers.apply(inputs, matrix), name, list(pairs.values()))

    def _route(self, inputs: ir.Value, base: ir.Value, name: str, pairs: list[AdapterPair]) -> ir.Value:
        """`base`, plus the low-rank term of the adapter that the request asks for."""

        def adapted(pair: AdapterPair, branch: GraphBuilder) -> ir.Value:
            layers = replace(self.layers, graph=branch, part=_ADAPTER_PARTS[pair.info.name])
            term = layers.apply(layers.apply(inputs, pair.a), pair.scaled_b)
            return branch.op("Add", base, term, name=f"{name}.{pair.info.name}")

        def some_adapter(branch: GraphBuilder) -> ir.Value:
            first = pairs[0]
            if len(pairs) == 1:
                return adapted(first, branch)
            return branch.choose(
                self.is_adapter[first.info.name],
                lambda inner: adapted(first, inner),
                lambda inner: adapted(pairs[1], inner),
                name=f"{name}.which",
            )

        if self.any_adapter is None:
            raise ValueError("a routed linear needs the adapter input")
        return self.graph.choose(
            self.any_adapter,
            some_adapter,
            lambda branch: branch.op("Identity", base, name=name),
            name=f"{name}.adapter",
        )
