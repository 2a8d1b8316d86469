"""Everything about a bundle that can be decided before a weight is read: graphs, places, sizes.

Owns which graphs a bundle has. Knows nothing about files.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgephi.manifest import DecoderInfo, SpeechInfo, VisionInfo
from edgephi_export.checkpoint import Checkpoint
from edgephi_export.decoder_graph import DecoderParts, build_decoder
from edgephi_export.graph_builder import GraphBuilder
from edgephi_export.selection import Selection
from edgephi_export.speech_graph import build_speech
from edgephi_export.vision_graph import build_vision
from edgephi_export.weight_plan import WeightPlan, as_table
from edgephi_quantize.recipe import HEAD

_DECODER, _TEXT, _VISION, _SPEECH = "decoder.onnx", "decoder_text.onnx", "vision.onnx", "speech.onnx"


@dataclass(frozen=True, slots=True, kw_only=True)
class BundlePlan:
    """What will be written.

    Attributes:
        checkpoint: What from.
        selection: Which parts.
        weights: Every tensor's place.
        graphs: The graphs by file name.
        decoder: What the manifest says of the decoder.
        vision: The same of the image tower; None where there is none.
        speech: The same of the audio tower; None where there is none.
    """

    checkpoint: Checkpoint
    selection: Selection
    weights: WeightPlan
    graphs: dict[str, GraphBuilder]
    decoder: DecoderInfo
    vision: VisionInfo | None
    speech: SpeechInfo | None


def plan_bundle(checkpoint: Checkpoint, selection: Selection, weights: WeightPlan) -> BundlePlan:
    """Build the graphs of a bundle; `weights` gets every tensor they need."""
    graphs: dict[str, GraphBuilder] = {}
    return BundlePlan(
        checkpoint=checkpoint,
        selection=selection,
        weights=weights,
        graphs=graphs,
        decoder=_plan_decoder(checkpoint, selection, weights, graphs),
        vision=_plan_vision(checkpoint, weights, graphs),
        speech=_plan_speech(checkpoint, selection, weights, graphs),
    )


def _plan_decoder(
    checkpoint: Checkpoint, selection: Selection, weights: WeightPlan, graphs: dict[str, GraphBuilder]
) -> DecoderInfo:
    config = checkpoint.config
    modes = {_DECODER: selection.mode}
    if selection.mode == "routed":
        modes[_TEXT] = "none"
    for name, mode in modes.items():
        parts = DecoderParts(config=config, source=checkpoint.weights, plan=weights, mode=mode)
        graphs[name], table = build_decoder(parts)
    sizes = config.decoder
    return DecoderInfo(
        graph=_DECODER,
        text_graph=_TEXT if _TEXT in graphs else None,
        dtype=weights.recipe.activations,
        hidden_size=sizes.hidden_size,
        num_layers=sizes.num_layers,
        num_heads=sizes.num_heads,
        num_kv_heads=sizes.num_kv_heads,
        head_size=sizes.head_size,
        vocab_size=sizes.vocab_size,
        embedding=as_table(table, weights.recipe.format_of(HEAD)),
    )


def _plan_vision(checkpoint: Checkpoint, weights: WeightPlan, graphs: dict[str, GraphBuilder]) -> VisionInfo | None:
    config = checkpoint.config.vision
    if config is None:
        return None
    hidden = checkpoint.config.decoder.hidden_size
    graphs[_VISION], separators = build_vision(config, hidden, checkpoint.weights, weights)
    return VisionInfo(
        graph=_VISION,
        crop_size=config.crop_size,
        patch_size=config.patch_size,
        max_crops=config.max_crops,
        row_separator=separators.row_separator,
        global_separator=separators.global_separator,
    )


def _plan_speech(
    checkpoint: Checkpoint, selection: Selection, weights: WeightPlan, graphs: dict[str, GraphBuilder]
) -> SpeechInfo | None:
    config = checkpoint.config.speech
    if config is None:
        return None
    graphs[_SPEECH] = build_speech(config, checkpoint.weights, weights, selection.projections)
    return SpeechInfo(
        graph=_SPEECH,
        num_mels=config.num_mels,
        time_reduction=config.time_reduction,
        window_rows=config.window_rows,
        projections=selection.projections,
    )
