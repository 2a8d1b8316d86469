"""Content of genai_config.json: how onnxruntime-genai 0.18 feeds the graph and how it searches."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgephi.bundle.manifest import GenerationDefaults
from edgephi_export.checkpoint.config import ModelConfig
from edgephi_export.checkpoint.json_fields import Fields
from edgephi_export.layouts.genai.media_config import (
    NO_SPEECH,
    EmbeddingInputs,
    EmbeddingOutputs,
    GenaiEmbedding,
    GenaiSpeech,
    GenaiVision,
)

GENAI_CONFIG = "genai_config.json"
#: The cache is allocated for this many positions when a generator is made, used or not; 131,072 of the public model
#: would be 32 GiB. A program that needs more passes `max_length` of its own.
MAX_LENGTH = 4096
#: For this type onnxruntime-genai reads the whole sequence again when a token makes it longer than 4,096 positions.
TEXT_TYPE = "phi3"
#: For this type it loads four graphs and two processors.
MEDIA_TYPE = "phi4mm"


@dataclass(frozen=True, slots=True, kw_only=True)
class GenaiSession:
    """Options of the ONNX Runtime session.

    Attributes:
        log_id: Stands in its messages.
        intra_op_num_threads: 0 lets ONNX Runtime take every physical core of the machine that runs the model. Without
            a value onnxruntime-genai takes half of the logical ones: half of the cores where they have one thread each.
        provider_options: Empty for the CPU.
    """

    log_id: str = "edgephi"
    intra_op_num_threads: int = 0
    provider_options: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GenaiInputs:
    """Names of the graph's inputs; `%d` stands for the layer."""

    input_ids: str = "input_ids"
    inputs_embeds: str | None = None
    attention_mask: str = "attention_mask"
    position_ids: str = "position_ids"
    past_key_names: str = "past_key_values.%d.key"
    past_value_names: str = "past_key_values.%d.value"


@dataclass(frozen=True, slots=True, kw_only=True)
class GenaiOutputs:
    """Names of the graph's outputs."""

    logits: str = "logits"
    present_key_names: str = "present.%d.key"
    present_value_names: str = "present.%d.value"


@dataclass(frozen=True, slots=True, kw_only=True)
class GenaiDecoder:
    """The graph and its sizes."""

    filename: str
    hidden_size: int
    num_attention_heads: int
    num_key_value_heads: int
    num_hidden_layers: int
    head_size: int
    session_options: GenaiSession = GenaiSession()
    inputs: GenaiInputs = GenaiInputs()
    outputs: GenaiOutputs = GenaiOutputs()


@dataclass(frozen=True, slots=True, kw_only=True)
class GenaiModel:
    """The model.

    Attributes:
        type: Decides how onnxruntime-genai runs it.
        context_length: The largest `max_length` that is accepted.
        vocab_size: Logits per row.
        eos_token_id: Any of these ends a reply.
        pad_token_id: Fills up the shorter prompts of a batch.
        bos_token_id: Only named; chat templates begin with what they need.
        decoder: The graph.
        vision: The graph for images; None for text.
        speech: The graph for audio; None for text.
        embedding: The graph that joins them with tokens; None for text.
    """

    type: str
    context_length: int
    vocab_size: int
    eos_token_id: tuple[int, ...]
    pad_token_id: int
    bos_token_id: int | None
    decoder: GenaiDecoder
    vision: GenaiVision | None = None
    speech: GenaiSpeech | None = None
    embedding: GenaiEmbedding | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GenaiSearch:
    """Defaults of a generator.

    Attributes:
        max_length: Prompt and reply together.
        do_sample: False takes the likeliest token.
        temperature: Of sampling; None where the checkpoint recommends none.
        top_k: The same; 0 for all tokens.
        top_p: The same.
        repetition_penalty: Against repetition; None where the checkpoint recommends none.
        past_present_share_buffer: The cache is written in place. Otherwise each token copies all of it.
    """

    max_length: int
    do_sample: bool
    temperature: float | None
    top_k: int | None
    top_p: float | None
    repetition_penalty: float | None = None
    past_present_share_buffer: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class GenaiConfig:
    """All of genai_config.json.

    `search.chunk_size` is left out on purpose: a prompt longer than 4,096 tokens must be read in one pass, since its
    first chunks would be rotated with the short factors.
    """

    model: GenaiModel
    search: GenaiSearch

    def to_json(self) -> str:
        """The text of genai_config.json; what has no value is left out."""
        return json.dumps(_without_none(dataclasses.asdict(self)), indent=1) + "\n"


def genai_config(config: ModelConfig, graph: str) -> GenaiConfig:
    """The configuration of a model for text.

    Args:
        config: The checkpoint.
        graph: Path of the ONNX file.
    """
    positions = config.rope.max_positions
    return GenaiConfig(
        model=_model(config, graph),
        search=_search(config.generation, min(positions, MAX_LENGTH)),
    )


def media_config(config: ModelConfig, graph: str) -> GenaiConfig:
    """The configuration of a model that also takes images and, where there is a tower for it, audio.

    Args:
        config: The checkpoint.
        graph: Path of the decoder's ONNX file.
    """
    text = genai_config(config, graph)
    has_speech = config.speech is not None
    inputs = GenaiInputs(inputs_embeds=EmbeddingOutputs().inputs_embeds)
    slots = EmbeddingInputs() if has_speech else EmbeddingInputs(audio_features=None)
    model = dataclasses.replace(
        text.model,
        type=MEDIA_TYPE,
        decoder=dataclasses.replace(text.model.decoder, inputs=inputs),
        vision=GenaiVision(),
        speech=GenaiSpeech() if has_speech else NO_SPEECH,
        embedding=GenaiEmbedding(inputs=slots),
    )
    return dataclasses.replace(text, model=model)


def is_media_folder(folder: Path) -> bool:
    """Whether a folder takes more than text.

    Raises:
        ArtifactError: genai_config.json is missing or damaged.
    """
    model = Fields.load(folder / GENAI_CONFIG).section("model")
    return model.get("type", str) == MEDIA_TYPE


def _model(config: ModelConfig, graph: str) -> GenaiModel:
    decoder, tokens = config.decoder, config.tokens
    return GenaiModel(
        type=TEXT_TYPE,
        context_length=config.rope.max_positions,
        vocab_size=decoder.vocab_size,
        eos_token_id=tokens.eos,
        pad_token_id=tokens.eos[0] if tokens.pad is None else tokens.pad,
        bos_token_id=tokens.bos,
        decoder=GenaiDecoder(
            filename=graph,
            hidden_size=decoder.hidden_size,
            num_attention_heads=decoder.num_heads,
            num_key_value_heads=decoder.num_kv_heads,
            num_hidden_layers=decoder.num_layers,
            head_size=decoder.head_size,
        ),
    )


def _search(defaults: GenerationDefaults, max_length: int) -> GenaiSearch:
    samples = defaults.temperature > 0
    return GenaiSearch(
        max_length=max_length,
        do_sample=samples,
        temperature=defaults.temperature if samples else None,
        top_k=defaults.top_k if samples else None,
        top_p=defaults.top_p if samples else None,
        repetition_penalty=defaults.repetition_penalty if defaults.repetition_penalty != 1 else None,
    )


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    return {
        key: _without_none(value) if isinstance(value, dict) else value
        for key, value in values.items()
        if value is not None
    }
