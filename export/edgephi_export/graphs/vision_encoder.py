"""Builds vision.onnx: the image tower (SigLIP with NaViT positions), pooled and projected to embedding rows.

C crop side in pixels, P patches per side, L = P * P, g = P / 2, H hidden of the decoder, R patches that are computed
inputs   pixel_values float32 [1, 3, C, C]    patch_mask bool [1, L]    position_ids int64 [1, L]
output   image_features float32 [1, g * g, H]; rows of cells without any unmasked patch mean nothing
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgephi.bundle.tensor_ref import TensorRef
from edgephi_export.checkpoint.config import VisionConfig
from edgephi_export.checkpoint.lazy_tensor import LazyTensor, computed
from edgephi_export.checkpoint.tensors import WeightSource
from edgephi_export.graphs.builder import GraphBuilder
from edgephi_export.graphs.layers import AttentionKeys, LayerBuilder
from edgephi_export.weights.plan import WeightPlan

FLOAT, INT64, BOOL = ir.DataType.FLOAT, ir.DataType.INT64, ir.DataType.BOOL


@dataclass(frozen=True, slots=True)
class Separators:
    """Places of the two projected separators, float32 [H] each."""

    row_separator: TensorRef
    global_separator: TensorRef


def build_vision(
    config: VisionConfig, hidden: int, source: WeightSource, plan: WeightPlan
) -> tuple[GraphBuilder, Separators]:
    """The image tower's graph, its weights being planned, and the places of the separators.

    Args:
        config: The tower.
        hidden: Width of the decoder.
        source: The checkpoint's weights.
        plan: Gives them places.
    """
    graph = GraphBuilder("vision", is_for_gpu=plan.recipe.is_for_gpu)
    layers = LayerBuilder(graph=graph, source=source, plan=plan, part="vision")
    side, count = config.crop_size, config.patches_per_side**2
    pixels = graph.input("pixel_values", FLOAT, [1, 3, side, side])
    patch_mask = graph.input("patch_mask", BOOL, [1, count])
    position_ids = graph.input("position_ids", INT64, [1, count])
    features = encode_view(layers, config, View(pixels, patch_mask, position_ids))
    graph.output(features, "image_features", FLOAT, [1, count // 4, hidden])
    return graph, place_separators(source, plan, hidden)


@dataclass(frozen=True, slots=True)
class View:
    """One view: pixels float32 [1, 3, C, C], its patch mask bool [1, L] and their positions int64 [1, L]."""

    pixels: ir.Value
    patch_mask: ir.Value
    position_ids: ir.Value


def encode_view(layers: LayerBuilder, config: VisionConfig, view: View) -> ir.Value:
    """The embedding rows of one view, float32 [1, g * g, H]."""
    graph = layers.graph
    chosen, num_attended = _choose(graph, config, view.patch_mask)
    state = _embed(layers, config, layers.enter(view.pixels, "pixel_values"), view.position_ids)
    state = graph.op("Gather", state, chosen, name="chosen.rows", axis=1)
    keys = AttentionKeys(num_heads=config.num_heads, count=num_attended)
    for layer in range(config.num_used_layers):
        state = _layer(layers, f"vision.layers.{layer}", state, keys, config.layer_norm_eps)
    features = layers.project(_pool(layers, config, state, chosen), "vision.projector")
    return layers.leave(features, "image_features")


def place_separators(source: WeightSource, plan: WeightPlan, hidden: int) -> Separators:
    """Places of the separators between rows of patches and between the tiles and the overview."""
    row_separator, global_separator = (
        plan.place_array("vision", _separator(source, f"vision.{name}", hidden), "float32").values
        for name in ("row_separator", "global_separator")
    )
    return Separators(row_separator, global_separator)


def _choose(graph: GraphBuilder, config: VisionConfig, patch_mask: ir.Value) -> tuple[ir.Value, ir.Value]:
    """The patches to compute, int64 [R], those that are attended first; and how many those are, int64 [1].

    A masked patch is attended by none, so it matters only where it is pooled together with one that is not masked.
    """
    half, flat, name = config.patches_per_side // 2, graph.constant([-1]), "chosen"
    attended = graph.op(
        "Reshape", graph.op("NonZero", graph.op("Reshape", patch_mask, flat, name=name)), flat, name=name
    )
    cells = graph.op("Cast", patch_mask, name=name, to=ir.DataType.INT32.value)
    cells = graph.op("Reshape", cells, graph.constant([half, 2, half, 2]), name=name)
    used = graph.op("ReduceMax", cells, graph.constant([1, 3]), name=name, keepdims=1)
    beside = graph.op("Reshape", graph.op("Greater", used, cells, name=name), flat, name=name)
    beside = graph.op("Reshape", graph.op("NonZero", beside, name=name), flat, name=name)
    chosen = graph.op("Concat", attended, beside, name=name, axis=0)
    return chosen, graph.op("Shape", attended, name="chosen.attended")


def _embed(layers: LayerBuilder, config: VisionConfig, pixels: ir.Value, position_ids: ir.Value) -> ir.Value:
    """Patches and their positions, float32 [N, L, D]."""
    graph, patch, name = layers.graph, config.patch_size, "vision.embeddings.patch_embedding"
    kernel, bias = layers.weight(f"{name}.weight"), layers.weight(f"{name}.bias")
    patches = graph.op("Conv", pixels, kernel, bias, name=name, kernel_shape=[patch, patch], strides=[patch, patch])
    axes = graph.constant([0, config.hidden_size, config.patches_per_side**2])
    rows = graph.op("Transpose", graph.op("Reshape", patches, axes, name=name), name=name, perm=[0, 2, 1])
    name = "vision.embeddings.position_embedding"
    positions = graph.op("Gather", layers.weight(f"{name}.weight"), position_ids, name=name, axis=0)
    return graph.op("Add", rows, positions, name=name)


def _layer(layers: LayerBuilder, prefix: str, state: ir.Value, keys: AttentionKeys, epsilon: float) -> ir.Value:
    graph = layers.graph
    normed = layers.layer_norm(state, f"{prefix}.layer_norm1", epsilon)
    attended = layers.attention(normed, f"{prefix}.self_attn", keys)
    state = graph.op("Add", state, layers.linear(attended, f"{prefix}.self_attn.out_proj"), name=f"{prefix}.self_attn")
    normed = layers.layer_norm(state, f"{prefix}.layer_norm2", epsilon)
    inner = layers.linear(normed, f"{prefix}.mlp.fc1")
    inner = graph.op("Gelu", inner, name=f"{prefix}.mlp", approximate="tanh")
    return graph.op("Add", state, layers.linear(inner, f"{prefix}.mlp.fc2"), name=f"{prefix}.mlp")


def _pool(layers: LayerBuilder, config: VisionConfig, state: ir.Value, chosen: ir.Value) -> ir.Value:
    """Mean of each 2x2 patches, float32 [1, g * g, D]; patches that were not chosen count as zeros."""
    graph, half, width = layers.graph, config.patches_per_side // 2, config.hidden_size
    zero = graph.constant(np.zeros(1, layers.dtype.numpy()))
    nothing = graph.op("Expand", zero, graph.constant([config.patches_per_side**2, width]), name="pool.zeros")
    places = graph.op("Unsqueeze", chosen, graph.constant([1]), name="pool.places")
    rows = graph.op("Squeeze", state, graph.constant([0]), name="pool.rows")
    rows = graph.op("ScatterND", nothing, places, rows, name="pool.rows")
    grid = graph.op("Reshape", rows, graph.constant([half, 2, half, 2, width]), name="pool.grid")
    pooled = graph.op("ReduceMean", grid, graph.constant([1, 3]), name="pool", keepdims=0)
    return graph.op("Reshape", pooled, graph.constant([1, half * half, width]), name="pool.cells")


def _separator(source: WeightSource, name: str, hidden: int) -> LazyTensor:
    return computed(name, (hidden,), lambda: project_separator(source, name), source.num_bytes(name))


def project_separator(source: WeightSource, name: str) -> NDArray[np.float32]:
    """A separator after the projector (linear, exact GELU, linear), float32 [H]. Computed in float64."""
    value = source.read(name).reshape(-1).astype(np.float64)
    inner = source.read("vision.projector.up.weight") @ value + source.read("vision.projector.up.bias")
    inner = np.array([0.5 * x * (1.0 + math.erf(x / math.sqrt(2.0))) for x in inner])
    outer = source.read("vision.projector.down.weight") @ inner + source.read("vision.projector.down.bias")
    return outer.astype(np.float32)
