"""Builds embedding.onnx: token ids to the decoder's input rows, encoded media in place of their slots.

Ni, Na rows of all images and of all audio, 0 in every pass but the first
inputs   input_ids int64 [B, S]    image_features float32 [Ni, H]    audio_features float32 [Na, H]
output   inputs_embeds float32 [B, S, H]
"""

from __future__ import annotations

import onnx_ir as ir

from edgephi.bundle.tensor_index import StoredTensorInfo
from edgephi_export.graphs.builder import GraphBuilder
from edgephi_export.layouts.genai.graph import embed_tokens
from edgephi_export.layouts.genai.slots import AUDIO_SLOT, IMAGE_SLOT

FLOAT, INT64 = ir.DataType.FLOAT, ir.DataType.INT64


def build_embedding(table: StoredTensorInfo, *, takes_audio: bool) -> GraphBuilder:
    """The graph over the tied table, whose place the decoder's graph planned.

    Args:
        table: The table [V, H].
        takes_audio: Whether there is a speech.onnx; an image_features input is always expected.
    """
    graph, hidden = GraphBuilder("embedding"), table.shape[1]
    ids = graph.input("input_ids", INT64, ["B", "S"])
    media = [(graph.input("image_features", FLOAT, ["Ni", hidden]), IMAGE_SLOT)]
    if takes_audio:
        media.append((graph.input("audio_features", FLOAT, ["Na", hidden]), AUDIO_SLOT))
    slots = [graph.op("Equal", ids, graph.constant(slot), name="slots") for _, slot in media]
    either = slots[0] if len(slots) == 1 else graph.op("Or", *slots, name="slots")
    tokens = graph.op("Where", either, graph.constant(0), ids, name="tokens")  # the table need not reach the slots
    rows = embed_tokens(graph, table, tokens)
    for (features, _), slot in zip(media, slots, strict=True):
        places = graph.op("Transpose", graph.op("NonZero", slot, name="places"), name="places", perm=[1, 0])
        rows = graph.op("ScatterND", rows, places, features, name="spliced")
    graph.output(rows, "inputs_embeds", FLOAT, ["B", "S", hidden])
    return graph
