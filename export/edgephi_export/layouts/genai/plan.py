"""Everything about a folder for onnxruntime-genai that can be decided before a weight is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgephi.bundle.bundle import CHAT_TEMPLATE_NAME, TOKENIZER_NAME
from edgephi.bundle.tensor_index import Part
from edgephi_export.checkpoint.config import VisionConfig
from edgephi_export.graphs.builder import GraphBuilder
from edgephi_export.graphs.decoder import DecoderParts
from edgephi_export.graphs.layers import LayerBuilder
from edgephi_export.layouts.genai.config import GENAI_CONFIG, genai_config, media_config
from edgephi_export.layouts.genai.embedding_graph import build_embedding
from edgephi_export.layouts.genai.graph import build_decoder, build_text
from edgephi_export.layouts.genai.media_config import (
    EMBEDDING_GRAPH,
    SPEECH_GRAPH,
    SPEECH_PROCESSOR,
    VISION_GRAPH,
    VISION_PROCESSOR,
)
from edgephi_export.layouts.genai.processors import speech_processor, vision_processor
from edgephi_export.layouts.genai.prompt_files import (
    TOKENIZER_CONFIG,
    template_of_parts,
    tokenizer_config,
    tokenizer_with_slots,
)
from edgephi_export.layouts.genai.speech_graph import build_speech
from edgephi_export.layouts.genai.vision_graph import build_vision, build_without_vision
from edgephi_export.layouts.layout import LayoutInput

GENAI_GRAPH = "model.onnx"
#: The public model's: what the processor of a folder without an image tower is set to.
_PUBLIC_CROP, _PUBLIC_CROPS = 448, 36


@dataclass(frozen=True, slots=True, kw_only=True)
class GenaiPlan:
    """The folder that will be written.

    Attributes:
        graphs: By file name.
        texts: The other files by name; without tokenizer.json the checkpoint's is copied.
    """

    graphs: Mapping[str, GraphBuilder]
    texts: Mapping[str, str]


def plan_genai(given: LayoutInput) -> GenaiPlan:
    """Build the graphs; the plan of weights gets every tensor they need.

    Raises:
        ArtifactError: The checkpoint's tokenizer_config.json is damaged, or its tokens for media are unknown to
            onnxruntime-genai.
    """
    return _plan_text(given) if given.selection.modalities == ("text",) else _plan_media(given)


def _decoder_parts(given: LayoutInput) -> DecoderParts:
    checkpoint = given.checkpoint
    return DecoderParts(
        config=checkpoint.config, source=checkpoint.weights, plan=given.weights, mode=given.selection.mode
    )


def _plan_text(given: LayoutInput) -> GenaiPlan:
    checkpoint = given.checkpoint
    texts = {
        GENAI_CONFIG: genai_config(checkpoint.config, GENAI_GRAPH).to_json(),
        TOKENIZER_CONFIG: tokenizer_config(checkpoint),
        CHAT_TEMPLATE_NAME: checkpoint.chat_template,
    }
    return GenaiPlan(graphs={GENAI_GRAPH: build_text(_decoder_parts(given))}, texts=texts)


def _plan_media(given: LayoutInput) -> GenaiPlan:
    checkpoint, config = given.checkpoint, given.checkpoint.config
    hidden = config.decoder.hidden_size
    decoder, table = build_decoder(_decoder_parts(given))
    graphs = {GENAI_GRAPH: decoder, EMBEDDING_GRAPH: build_embedding(table, takes_audio=config.speech is not None)}
    texts = {
        GENAI_CONFIG: media_config(config, GENAI_GRAPH).to_json(),
        TOKENIZER_CONFIG: tokenizer_config(checkpoint),
        CHAT_TEMPLATE_NAME: template_of_parts(checkpoint.chat_template),
        VISION_PROCESSOR: _vision_processor(config.vision, given.options.max_crops),
    }
    if config.vision is None:
        graphs[VISION_GRAPH] = build_without_vision(hidden)
    else:
        graphs[VISION_GRAPH] = build_vision(config.vision, _layers(given, "vision"), hidden)
    if config.speech is not None:
        graphs[SPEECH_GRAPH] = build_speech(
            config.speech, _layers(given, "speech"), hidden, given.selection.projections
        )
        texts[SPEECH_PROCESSOR] = speech_processor()
    if (tokenizer := tokenizer_with_slots(checkpoint)) is not None:
        texts[TOKENIZER_NAME] = tokenizer
    return GenaiPlan(graphs=graphs, texts=texts)


def _vision_processor(config: VisionConfig | None, max_crops: int | None) -> str:
    if config is None:
        return vision_processor(_PUBLIC_CROP, _PUBLIC_CROPS)
    return vision_processor(config.crop_size, config.max_crops if max_crops is None else max_crops)


def _layers(given: LayoutInput, part: Part) -> LayerBuilder:
    return LayerBuilder(graph=GraphBuilder(part), source=given.checkpoint.weights, plan=given.weights, part=part)
