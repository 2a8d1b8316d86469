"""Builds speech.onnx: the audio tower (strided stem, conformer) with its output projections.

T frames, R rows after the stem (one per 8 frames), A = R - drop_rows rows returned, H hidden of the decoder
inputs   log_mel float32 [1, T, mels]    drop_rows int64 [] (leading stem rows to drop)
         window_rows int64 [] (zero rows are added up to this many, attended, and removed at the end)
         projection int64 [] (0 speech, 1 vision; without effect where the graph holds only one)
output   audio_features float32 [1, A, H]
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgephi.bundle.manifest import PROJECTION_IDS
from edgephi_export.checkpoint.config import SpeechConfig
from edgephi_export.checkpoint.lazy_tensor import computed
from edgephi_export.checkpoint.tensors import WeightSource
from edgephi_export.graphs.builder import GraphBuilder
from edgephi_export.graphs.layers import AttentionKeys, LayerBuilder
from edgephi_export.weights.plan import WeightPlan

FLOAT, INT64 = ir.DataType.FLOAT, ir.DataType.INT64
_NORM_EPS = 1e-5  # torch.nn.LayerNorm's default; no file states it
_TO_THE_END = np.iinfo(np.int64).max


def build_speech(
    config: SpeechConfig,
    source: WeightSource,
    plan: WeightPlan,
    projections: tuple[str, ...],
) -> GraphBuilder:
    """The audio tower's graph, its weights being planned.

    Args:
        config: The tower.
        source: The checkpoint's weights.
        plan: Gives them places.
        projections: Which output projections to include: `speech`, `vision` or both.
    """
    graph = GraphBuilder("speech", is_for_gpu=plan.recipe.is_for_gpu)
    layers = LayerBuilder(graph=graph, source=source, plan=plan, part="speech")
    window = Window(
        log_mel=graph.input("log_mel", FLOAT, [1, "T", config.num_mels]),
        drop_rows=graph.input("drop_rows", INT64, []),
        window_rows=graph.input("window_rows", INT64, []),
        projection=graph.input("projection", INT64, []),
    )
    features = encode_window(layers, config, window, projections)
    hidden = source.shape("speech.projector.speech.down.bias")[0]
    graph.output(features, "audio_features", FLOAT, [1, "A", hidden])
    return graph


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The input of one pass through the tower; see the top of this file."""

    log_mel: ir.Value
    drop_rows: ir.Value
    window_rows: ir.Value
    projection: ir.Value


def encode_window(layers: LayerBuilder, config: SpeechConfig, window: Window, projections: tuple[str, ...]) -> ir.Value:
    """The embedding rows of one window, float32 [1, A, H].

    Args:
        layers: Adds the nodes.
        config: The tower.
        window: The input.
        projections: Which output projections there are: `speech`, `vision` or both.
    """
    return _SpeechBuilder(config, layers).encode(window, projections)


class _SpeechBuilder:
    def __init__(self, config: SpeechConfig, layers: LayerBuilder) -> None:
        self.config = config
        self.layers = layers
        self.graph = layers.graph

    def encode(self, window: Window, projections: tuple[str, ...]) -> ir.Value:
        graph = self.graph
        first = graph.op("Reshape", window.drop_rows, graph.constant([1]), name="drop_rows")
        stem = self._stem(self.layers.enter(window.log_mel, "log_mel"))
        rows = graph.op("Slice", stem, first, graph.constant([_TO_THE_END]), graph.constant([1]), name="rows")
        count = graph.op("Shape", rows, name="rows.count", start=1, end=2)
        state = self._pad(rows, count, window.window_rows)
        keys = AttentionKeys(num_heads=self.config.num_heads, bias=self._relative_bias(state))
        for block in range(self.config.num_blocks):
            state = self._block(f"speech.blocks.{block}", state, keys)
        state = graph.op("Slice", state, graph.constant([0]), count, graph.constant([1]), name="unpad")
        return self.layers.leave(self._project(state, window.projection, projections), "audio_features")

    def _stem(self, log_mel: ir.Value) -> ir.Value:
        """Normalization and three strided convolutions: float32 [1, R, D]."""
        graph, config, layers = self.graph, self.config, self.layers
        normal = graph.op("Sub", log_mel, layers.weight("speech.mean"), name="normalize")
        normal = graph.op("Mul", normal, layers.weight("speech.inverse_std"), name="normalize")
        image = graph.op("Unsqueeze", normal, graph.constant([1]), name="stem.image")
        image = graph.op("Relu", self._strided(image, 0, groups=1), name="stem.0")
        rows = self._pointwise(self._strided(image, 2, groups=config.stem_channels), 3)
        image = graph.op("Transpose", rows, name="stem.3.channels", perm=[0, 3, 1, 2])
        rows = self._pointwise(self._strided(image, 5, groups=config.stem_channels), 6)
        rows = graph.op("Transpose", rows, name="stem.rows", perm=[0, 1, 3, 2])
        flat = graph.constant([1, -1, config.stem_channels * config.stem_bands])
        return layers.linear(graph.op("Reshape", rows, flat, name="stem.flat"), "speech.stem.out")

    def _pointwise(self, image: ir.Value, index: int) -> ir.Value:
        """A 1x1 convolution [1, C, t, f] as the linear over channels that it is, and ReLU: float32 [1, t, f, C].

        The reshaping keeps ONNX Runtime from moving the Transpose behind the reductions of the linear, which would
        then run across rows, 15 times slower.
        """
        graph, name, channels = self.graph, f"stem.{index}", self.config.stem_channels
        bands = -(-self.config.num_mels // 2 ** (index // 3 + 1))  # after this many strides of 2
        last = graph.op("Transpose", image, name=f"{name}.rows", perm=[0, 2, 3, 1])
        rows = graph.op("Reshape", last, graph.constant([-1, channels]), name=f"{name}.rows")
        rows = graph.op("Relu", self.layers.linear(rows, f"speech.stem.conv.{index}"), name=name)
        return graph.op("Reshape", rows, graph.constant([1, -1, bands, channels]), name=name)

    def _strided(self, image: ir.Value, index: int, *, groups: int) -> ir.Value:
        name = f"speech.stem.conv.{index}"
        kernel, bias = self.layers.weight(f"{name}.weight"), self.layers.weight(f"{name}.bias")
        return self.graph.op(
            "Conv", image, kernel, bias,
            name=name, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], group=groups,
        )  # fmt: skip

    def _pad(self, rows: ir.Value, count: ir.Value, window_rows: ir.Value) -> ir.Value:
        """Zero rows behind `rows`, up to `window_rows` in all."""
        graph = self.graph
        wanted = graph.op("Reshape", window_rows, graph.constant([1]), name="window_rows")
        missing = graph.op("Sub", wanted, count, name="pad.rows")
        zeros = graph.constant([0, 0, 0, 0]), graph.constant([0])
        pads = graph.op("Concat", zeros[0], missing, zeros[1], name="pad.pads", axis=0)
        return graph.op("Pad", rows, pads, name="pad")

    def _relative_bias(self, state: ir.Value) -> ir.Value:
        """Bias by distance, float32 [1, heads, L, L]: entry clip(key - query, -max, max - 1) + max of the table."""
        graph, limit = self.graph, self.config.max_distance
        length = graph.op("Shape", state, name="bias.length", start=1, end=2)
        scalar = graph.op("Squeeze", length, name="bias.length")
        places = graph.op("Range", graph.constant(0), scalar, graph.constant(1), name="bias.places")
        keys = graph.op("Unsqueeze", places, graph.constant([0]), name="bias.keys")
        queries = graph.op("Unsqueeze", places, graph.constant([1]), name="bias.queries")
        distance = graph.op("Sub", keys, queries, name="bias.distance")
        near = graph.op("Clip", distance, graph.constant(-limit), graph.constant(limit - 1), name="bias.near")
        index = graph.op("Add", near, graph.constant(limit), name="bias.index")
        values = graph.op("Gather", self.layers.weight("speech.bias_values"), index, name="bias.values", axis=0)
        by_head = graph.op("Transpose", values, name="bias.by_head", perm=[2, 0, 1])
        return graph.op("Unsqueeze", by_head, graph.constant([0]), name="bias")

    def _block(self, prefix: str, state: ir.Value, keys: AttentionKeys) -> ir.Value:
        graph, layers = self.graph, self.layers
        state = self._half_step(state, f"{prefix}.feed_forward_in")
        normed = layers.layer_norm(state, f"{prefix}.layer_norm_att", _NORM_EPS)
        attended = layers.attention(normed, f"{prefix}.self_attn", keys)
        attended = layers.linear(attended, f"{prefix}.self_attn.o_proj")
        state = graph.op("Add", state, attended, name=f"{prefix}.self_attn")
        state = graph.op("Add", state, self._convolution(state, f"{prefix}.conv"), name=f"{prefix}.conv")
        state = self._half_step(state, f"{prefix}.feed_forward_out")
        return layers.layer_norm(state, f"{prefix}.layer_norm", _NORM_EPS)

    def _half_step(self, state: ir.Value, name: str) -> ir.Value:
        """`state + 0.5 * feed_forward(state)`; the half is folded into the last linear, which is exact."""
        layers = self.layers
        normed = layers.layer_norm(state, f"{name}.layer_norm", _NORM_EPS)
        value, gate = layers.halves(layers.linear(normed, f"{name}.gate_up_proj"), name)
        inner = self.graph.op("Mul", value, layers.swish(gate, name), name=name)
        return self.graph.op("Add", state, layers.linear(inner, f"{name}.down_proj", scale=0.5), name=name)

    def _convolution(self, state: ir.Value, name: str) -> ir.Value:
        """Gate, causal depthwise convolution, two pointwise ones."""
        graph, layers, kernel_size = self.graph, self.layers, self.config.kernel_size
        normed = layers.layer_norm(state, f"{name}.layer_norm", _NORM_EPS)
        value, gate = layers.halves(self._gate_inputs(normed, f"{name}.glu"), name)
        gated = graph.op("Mul", value, layers.swish(gate, f"{name}.glu"), name=f"{name}.glu")
        columns = graph.op("Transpose", gated, name=name, perm=[0, 2, 1])
        depthwise = f"{name}.dw_sep_conv_1d.dw_conv"
        columns = graph.op(
            "Conv", columns, layers.weight(f"{depthwise}.weight"), layers.weight(f"{depthwise}.bias"),
            name=depthwise, kernel_shape=[kernel_size], pads=[kernel_size - 1, 0], group=self.config.hidden_size,
        )  # fmt: skip
        rows = graph.op("Transpose", columns, name=f"{name}.rows", perm=[0, 2, 1])
        mixed = layers.swish(layers.linear(rows, f"{name}.dw_sep_conv_1d.pw_conv"), name)
        return layers.linear(mixed, f"{name}.ext_pw_conv_1d")

    def _gate_inputs(self, normed: ir.Value, name: str) -> ir.Value:
        """The pointwise convolution before the gate, its bias joined with the gate's own biases b1 and b2."""
        source, linear = self.layers.source, f"{name}.ext_pw_conv_1d"
        names = f"{linear}.bias", f"{name}.b1", f"{name}.b2"

        def joined() -> NDArray[np.float32]:
            bias, *own = (source.read(part).reshape(-1) for part in names)
            return bias + np.concatenate(own)

        bias = computed(names[0], source.shape(names[0]), joined, sum(map(source.num_bytes, names)))
        return self.layers.add_bias(self.layers.matmul(normed, linear), bias, linear)

    def _project(self, state: ir.Value, projection: ir.Value, names: tuple[str, ...]) -> ir.Value:
        if len(names) == 1:
            return self.layers.project(state, f"speech.projector.{names[0]}")
        vision = self.graph.constant(PROJECTION_IDS["vision"])
        is_vision = self.graph.op("Equal", projection, vision, name="is_vision")
        return self.graph.choose(
            is_vision,
            lambda branch: self._projected(branch, state, "vision"),
            lambda branch: self._projected(branch, state, "speech"),
            name="projection",
        )

    def _projected(self, branch: GraphBuilder, state: ir.Value, name: str) -> ir.Value:
        return self.layers.within(branch).project(state, f"speech.projector.{name}")
