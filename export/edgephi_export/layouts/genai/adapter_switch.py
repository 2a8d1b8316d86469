"""The choice of an adapter inside model.onnx, by the slots that the sequence holds.

onnxruntime-genai activates no adapter by itself. It does feed `input_ids` beside `inputs_embeds` where a graph declares
both (since 0.14), and hands the pair `past_key_values.N.{conv_state, recurrent_state}` from one pass to the next,
zeroed when a generator is made (since 0.13, for Qwen 3.5; found by name, N may be any layer). Here the pair remembers
for all further tokens that an image or audio was seen: two floats instead of a state of a layer.

    conv_state float32 [B, 1, 1]          1 once an image slot was seen
    recurrent_state float32 [B, 1, 1, 1]  1 once an audio slot was seen
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgephi.bundle.manifest import EncoderName
from edgephi_export.graphs.builder import GraphBuilder
from edgephi_export.layouts.genai.slots import AUDIO_SLOT, IMAGE_SLOT

FLOAT = ir.DataType.FLOAT


class AdapterSwitch:
    """Adds the states and the choice to a decoder's graph.

    Args:
        graph: The graph.
        layer: The number in the states' names; one that no cache has.
    """

    def __init__(self, graph: GraphBuilder, layer: int) -> None:
        self._graph = graph
        self._layer = layer
        self._states: list[tuple[str, ir.Value, list[int | str]]] = []

    def add(self, ids: ir.Value) -> dict[EncoderName, ir.Value]:
        """Read int64 [B, S]; gives for each adapter the bool [] that says whether the model's rule chooses it."""
        graph = self._graph
        image = self._seen("conv_state", ids, IMAGE_SLOT, ["B", 1, 1])
        audio = self._seen("recurrent_state", ids, AUDIO_SLOT, ["B", 1, 1, 1])
        without_image = graph.op("Not", image, name="without_image")
        return {"vision": image, "speech": graph.op("And", audio, without_image, name="is_speech")}

    def add_outputs(self) -> None:
        """The states for the next pass; the last outputs of the graph."""
        for kind, state, axes in self._states:
            self._graph.output(state, f"present.{self._layer}.{kind}", FLOAT, axes)

    def _seen(self, kind: str, ids: ir.Value, slot: int, axes: list[int | str]) -> ir.Value:
        graph = self._graph
        past = graph.input(f"past_key_values.{self._layer}.{kind}", FLOAT, axes)
        here = graph.op("Cast", graph.op("Equal", ids, graph.constant(slot), name=kind), name=kind, to=FLOAT.value)
        state = graph.op("Max", past, graph.op("ReduceMax", here, name=kind, keepdims=0), name=kind)
        self._states.append((kind, state, axes))
        ever = graph.op("ReduceMax", state, name=kind, keepdims=0)
        return graph.op("Greater", ever, graph.constant(np.float32(0)), name=kind)
