"""Everything about a bundle that can be decided before a weight is read: graphs, places, sizes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from edgephi.bundle.manifest import AdapterMode, CacheKind, DecoderInfo, Int8CacheInfo, SpeechInfo, VisionInfo
from edgephi.bundle.prefill_info import DerivedPrefillInfo
from edgephi.bundle.tensor_index import StoredTensorInfo
from edgephi_export.checkpoint.checkpoint import Checkpoint
from edgephi_export.checkpoint.selection import Selection
from edgephi_export.graphs.builder import GraphBuilder
from edgephi_export.graphs.decoder import DecoderParts, build_decoder, build_prefill
from edgephi_export.graphs.speech_encoder import build_speech
from edgephi_export.graphs.vision_encoder import build_vision
from edgephi_export.options import PrefillKind
from edgephi_export.weights.kv_scales import place_scales
from edgephi_export.weights.plan import WeightPlan, as_table
from edgephi_quantize.recipe import HEAD

_DECODER, _TEXT, _VISION, _SPEECH = "decoder.onnx", "decoder_text.onnx", "vision.onnx", "speech.onnx"
_DECODER_INT8, _TEXT_INT8 = "decoder_kv8.onnx", "decoder_text_kv8.onnx"
PREFILL_GRAPH, _PREFILL_INT8 = "decoder_prefill.onnx", "decoder_prefill_kv8.onnx"
_DERIVED_INDEX = "prefill.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class BundlePlan:
    """The folder that will be written.

    Attributes:
        checkpoint: What from.
        selection: Which parts.
        weights: Every tensor's place.
        graphs: The graphs by file name.
        decoder: What the manifest says of the decoder, the int8 cache aside.
        int8_cache: What it will say of that once the scales are there; None where there is none.
        vision: The same of the image tower; None where there is none.
        speech: The same of the audio tower; None where there is none.
        derived: The graphs for prefill whose weights a device derives; None where there are none.
    """

    checkpoint: Checkpoint
    selection: Selection
    weights: WeightPlan
    graphs: dict[str, GraphBuilder]
    decoder: DecoderInfo
    int8_cache: Int8CacheInfo | None
    vision: VisionInfo | None
    speech: SpeechInfo | None
    derived: DerivedPlan | None = None


@dataclass(frozen=True, slots=True)
class DerivedPlan:
    """Graphs for prefill whose weights a device derives.

    Attributes:
        info: What the manifest says of them.
        weights: Every derived tensor's place.
        graphs: The graphs by file name.
    """

    info: DerivedPrefillInfo
    weights: WeightPlan
    graphs: dict[str, GraphBuilder]


def plan_bundle(
    checkpoint: Checkpoint,
    selection: Selection,
    weights: WeightPlan,
    kv_cache: CacheKind = "float",
    *,
    prefill: PrefillKind | None = None,
) -> BundlePlan:
    """Build the graphs of a bundle; `weights` gets every tensor they need, the scales of an int8 cache aside."""
    graphs: dict[str, GraphBuilder] = {}
    modes = _modes(selection, with_prefill=prefill == "int8")
    return BundlePlan(
        checkpoint=checkpoint,
        selection=selection,
        weights=weights,
        graphs=graphs,
        decoder=_plan_decoder(checkpoint, modes, weights, graphs),
        int8_cache=_plan_int8_cache(checkpoint, modes, weights, graphs) if kv_cache == "int8" else None,
        vision=_plan_vision(checkpoint, weights, graphs),
        speech=_plan_speech(checkpoint, selection, weights, graphs),
        derived=_plan_derived(checkpoint, selection, weights, kv_cache) if prefill == "derived" else None,
    )


def _modes(selection: Selection, *, with_prefill: bool) -> dict[str, AdapterMode]:
    """The decoder's graphs, and how adapters are built into each."""
    modes: dict[str, AdapterMode] = {_DECODER: selection.mode}
    if selection.mode == "routed":
        modes[_TEXT] = "none"
    if with_prefill:
        modes[PREFILL_GRAPH] = selection.mode
    return modes


def _plan_derived(
    checkpoint: Checkpoint, selection: Selection, weights: WeightPlan, kv_cache: CacheKind
) -> DerivedPlan:
    """Graphs over the tensors of `weights` and the places of those that are derived."""
    derived = weights.apart()
    parts = DecoderParts(
        config=checkpoint.config, source=checkpoint.weights, plan=weights, mode=selection.mode, derived=derived
    )
    graphs = {PREFILL_GRAPH: build_prefill(parts)}
    if kv_cache == "int8":
        graphs[_PREFILL_INT8] = build_prefill(replace(parts, cache_scales=place_scales(checkpoint.config.decoder)))
    info = DerivedPrefillInfo(
        graph=PREFILL_GRAPH, int8_graph=_PREFILL_INT8 if _PREFILL_INT8 in graphs else None, index=_DERIVED_INDEX
    )
    return DerivedPlan(info, derived, graphs)


def _plan_decoder(
    checkpoint: Checkpoint, modes: dict[str, AdapterMode], weights: WeightPlan, graphs: dict[str, GraphBuilder]
) -> DecoderInfo:
    config = checkpoint.config
    parts = DecoderParts(config=config, source=checkpoint.weights, plan=weights, mode="none")
    table = _add_graphs(parts, modes, {name: name for name in modes}, graphs)
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
        prefill_graph=PREFILL_GRAPH if PREFILL_GRAPH in modes else None,
    )


def _add_graphs(
    parts: DecoderParts, modes: dict[str, AdapterMode], names: dict[str, str], graphs: dict[str, GraphBuilder]
) -> StoredTensorInfo:
    """Build the decoder's graphs under their `names`; gives the place of the tied table."""
    table: StoredTensorInfo | None = None
    for kind, mode in modes.items():
        chosen = replace(parts, mode=mode)
        if kind == PREFILL_GRAPH:
            graphs[names[kind]] = build_prefill(chosen)
        else:
            graphs[names[kind]], table = build_decoder(chosen)
    if table is None:
        raise AssertionError("every model has a graph with a head")
    return table


def _plan_int8_cache(
    checkpoint: Checkpoint, modes: dict[str, AdapterMode], weights: WeightPlan, graphs: dict[str, GraphBuilder]
) -> Int8CacheInfo:
    """The decoder's graphs again: their weights have places already."""
    config = checkpoint.config
    keys, values = place_scales(config.decoder)
    parts = DecoderParts(
        config=config, source=checkpoint.weights, plan=weights, mode="none", cache_scales=(keys, values)
    )
    names = {_DECODER: _DECODER_INT8, _TEXT: _TEXT_INT8, PREFILL_GRAPH: _PREFILL_INT8}
    _add_graphs(parts, modes, names, graphs)
    return Int8CacheInfo(
        graph=_DECODER_INT8,
        text_graph=_TEXT_INT8 if _TEXT in modes else None,
        key_scales=keys,
        value_scales=values,
        prefill_graph=_PREFILL_INT8 if PREFILL_GRAPH in modes else None,
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
