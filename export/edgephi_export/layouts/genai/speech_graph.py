"""Builds speech.onnx: the audio tower with the inputs that onnxruntime-genai gives it.

    N recordings, T frames of the longest, R rows of a recording (one per 8 frames), Na rows of all, W rows of a window
    inputs   audio_embeds float32 [N, T, mels], shorter recordings filled up with zeros
             audio_attention_mask bool [N, T], True for frames of the recording    audio_sizes int64 [N], not read
             audio_projection_mode int64 [1]: 0 text, 1 images, 2 audio, 3 images and audio
    output   audio_features float32 [Na, H], one recording after the other

The windows of all recordings are encoded one after the other, each as edgephi's own runtime encodes it (see
graphs/speech_encoder.py), so a recording gives the same rows whatever lies beside it, and memory holds one window.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from edgephi.bundle.manifest import PROJECTION_IDS, EncoderName
from edgephi_export.checkpoint.config import SpeechConfig
from edgephi_export.graphs.builder import GraphBuilder
from edgephi_export.graphs.layers import LayerBuilder
from edgephi_export.graphs.rotary_positions import refusal
from edgephi_export.graphs.speech_encoder import Window, encode_window

FLOAT, INT64, BOOL = ir.DataType.FLOAT, ir.DataType.INT64, ir.DataType.BOOL
#: Of `audio_projection_mode`: images and audio.
_BOTH = 3


def build_speech(
    config: SpeechConfig, layers: LayerBuilder, hidden: int, projections: tuple[EncoderName, ...]
) -> GraphBuilder:
    """The graph, its weights being planned.

    Args:
        config: The tower.
        layers: Adds the nodes; of a new graph.
        hidden: Width of the decoder.
        projections: Which output projections there are.
    """
    return _GenaiSpeech(config, layers, projections).build(hidden)


@dataclass(frozen=True, slots=True)
class _Recordings:
    """All recordings of a request: their features, and int64 [N] each: frames, rows, windows, and windows so far."""

    features: ir.Value
    frames: ir.Value
    rows: ir.Value
    windows: ir.Value
    ends: ir.Value


class _GenaiSpeech:
    def __init__(self, config: SpeechConfig, layers: LayerBuilder, projections: tuple[EncoderName, ...]) -> None:
        self.config = config
        self.layers = layers
        self.graph = layers.graph
        self.projections = projections

    def build(self, hidden: int) -> GraphBuilder:
        graph, limit = self.graph, self.graph.constant(self.config.window_rows)
        features = graph.input("audio_embeds", FLOAT, ["N", "T", self.config.num_mels])
        is_frame = graph.input("audio_attention_mask", BOOL, ["N", "T"])
        graph.input("audio_sizes", INT64, ["N"])
        mode = graph.input("audio_projection_mode", INT64, [1])
        audio = self._recordings(features, is_frame)
        projection = self._projection(mode)
        longest = graph.op("ReduceMax", audio.rows, name="longest", keepdims=0)
        width = graph.op("Min", longest, limit, name="width")
        total = graph.op("ReduceSum", audio.windows, name="windows", keepdims=0)
        stacked = graph.repeat(
            total, lambda branch, index: self._window(branch, index, audio, width, projection), name="window"
        )
        flat = graph.op("Reshape", stacked, graph.constant([-1, hidden]), name="rows")
        kept = self._kept(audio, width)
        output = graph.op("Compress", flat, kept, name="audio_features", axis=0)
        graph.output(output, "audio_features", FLOAT, ["Na", hidden])
        return graph

    def _recordings(self, features: ir.Value, is_frame: ir.Value) -> _Recordings:
        graph = self.graph
        counted = graph.op("Cast", is_frame, name="frames", to=INT64.value)
        frames = graph.op("ReduceSum", counted, graph.constant([1]), name="frames", keepdims=0)
        rows = _divided_up(graph, frames, self.config.time_reduction)
        windows = _divided_up(graph, rows, self.config.window_rows)
        return _Recordings(
            features=features,
            frames=frames,
            rows=rows,
            windows=windows,
            ends=graph.op("CumSum", windows, graph.constant(0), name="ends"),
        )

    def _projection(self, mode: ir.Value) -> ir.Value:
        """int64 []: the model's rule, `vision` for audio beside images; an error for a projection that is not there."""
        graph = self.graph
        both = graph.op("Equal", graph.op("Squeeze", mode, name="mode"), graph.constant(_BOTH), name="both")
        vision, speech = (graph.constant(PROJECTION_IDS[name]) for name in ("vision", "speech"))
        chosen = graph.op("Where", both, vision, speech, name="projection")
        if len(self.projections) > 1:
            return chosen
        if self.projections == ("vision",):
            reason = "this folder takes audio only beside an image: export the model with --adapters routed"
            missing = graph.op("Not", both, name="missing")
        else:
            reason, missing = (
                "this folder takes audio only without an image: export the model with all modalities",
                both,
            )
        return graph.op("Add", chosen, refusal(graph, missing, reason), name="projection")

    def _window(
        self, branch: GraphBuilder, index: ir.Value, audio: _Recordings, width: ir.Value, projection: ir.Value
    ) -> ir.Value:
        """The rows of the window of this number, filled up with zeros: float32 [width, H]."""
        config, layers = self.config, self.layers.within(branch)
        before = branch.op("LessOrEqual", audio.ends, index, name="recording")
        number = branch.op("Cast", before, name="recording", to=INT64.value)
        number = branch.op("ReduceSum", number, name="recording", keepdims=0)

        def of(values: ir.Value) -> ir.Value:
            return branch.op("Gather", values, number, name="of_recording", axis=0)

        earlier = branch.op("Sub", of(audio.ends), of(audio.windows), name="earlier")
        limit = branch.constant(config.window_rows)
        start = branch.op("Mul", branch.op("Sub", index, earlier, name="start"), limit, name="start")
        rows = branch.op("Min", of(audio.rows), limit, name="window_rows")
        drop = branch.op("Min", start, branch.constant(1), name="drop_rows")
        first = branch.op("Sub", start, drop, name="first")
        last = branch.op("Add", start, rows, name="last")
        frames = [branch.op("Mul", row, branch.constant(config.time_reduction), name="frame") for row in (first, last)]
        frames[1] = branch.op("Min", frames[1], of(audio.frames), name="frame")
        one = branch.constant([1])
        ends = [branch.op("Reshape", frame, one, name="frame") for frame in frames]
        mel = branch.op("Slice", of(audio.features), *ends, branch.constant([0]), name="log_mel")
        mel = branch.op("Unsqueeze", mel, branch.constant([0]), name="log_mel")
        window = Window(log_mel=mel, drop_rows=drop, window_rows=rows, projection=projection)
        features = encode_window(layers, config, window, self.projections)
        features = branch.op("Squeeze", features, branch.constant([0]), name="window.rows")
        return _filled_up(branch, features, width)

    def _kept(self, audio: _Recordings, width: ir.Value) -> ir.Value:
        """Which rows of the stacked windows are rows of a recording: bool [windows * width]."""
        graph, limit = self.graph, self.graph.constant(self.config.window_rows)
        most = graph.op("ReduceMax", audio.windows, name="most", keepdims=0)
        numbers = graph.op("Range", graph.constant(0), most, graph.constant(1), name="numbers")
        rows, windows = (
            graph.op("Unsqueeze", v, graph.constant([1]), name="kept") for v in (audio.rows, audio.windows)
        )
        left = graph.op("Sub", rows, graph.op("Mul", numbers, limit, name="kept"), name="kept")
        is_there = graph.op(
            "Reshape", graph.op("Less", numbers, windows, name="kept"), graph.constant([-1]), name="kept"
        )
        left = graph.op("Reshape", left, graph.constant([-1]), name="kept")
        left = graph.op("Compress", left, is_there, name="kept", axis=0)
        places = graph.op("Range", graph.constant(0), width, graph.constant(1), name="kept")
        kept = graph.op("Less", places, graph.op("Unsqueeze", left, graph.constant([1]), name="kept"), name="kept")
        return graph.op("Reshape", kept, graph.constant([-1]), name="kept")


def _divided_up(graph: GraphBuilder, value: ir.Value, divisor: int) -> ir.Value:
    """`ceil(value / divisor)` of int64."""
    raised = graph.op("Add", value, graph.constant(divisor - 1), name="divided_up")
    return graph.op("Div", raised, graph.constant(divisor), name="divided_up")


def _filled_up(graph: GraphBuilder, rows: ir.Value, width: ir.Value) -> ir.Value:
    """Zero rows behind float32 [A, H], up to `width` in all."""
    wanted = graph.op("Reshape", width, graph.constant([1]), name="filled")
    missing = graph.op("Sub", wanted, graph.op("Shape", rows, name="filled", start=0, end=1), name="filled")
    pads = graph.op("Concat", graph.constant([0, 0]), missing, graph.constant([0]), name="filled", axis=0)
    return graph.op("Pad", rows, pads, name="filled")
