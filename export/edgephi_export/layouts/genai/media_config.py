"""The parts of genai_config.json for images and audio: names of files, inputs and outputs."""

from __future__ import annotations

from dataclasses import dataclass

EMBEDDING_GRAPH, VISION_GRAPH, SPEECH_GRAPH = "embedding.onnx", "vision.onnx", "speech.onnx"
VISION_PROCESSOR, SPEECH_PROCESSOR = "vision_processor.json", "speech_processor.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class VisionInputs:
    """Inputs of vision.onnx."""

    pixel_values: str = "pixel_values"
    attention_mask: str = "image_attention_mask"
    image_sizes: str = "image_sizes"


@dataclass(frozen=True, slots=True, kw_only=True)
class VisionOutputs:
    """Its output."""

    image_features: str = "image_features"


@dataclass(frozen=True, slots=True, kw_only=True)
class GenaiVision:
    """The section `vision`; the library asks for its files in every folder of this type."""

    filename: str = VISION_GRAPH
    config_filename: str = VISION_PROCESSOR
    inputs: VisionInputs = VisionInputs()
    outputs: VisionOutputs = VisionOutputs()


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechInputs:
    """Inputs of speech.onnx."""

    audio_embeds: str = "audio_embeds"
    attention_mask: str = "audio_attention_mask"
    audio_sizes: str = "audio_sizes"
    audio_projection_mode: str = "audio_projection_mode"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechOutputs:
    """Its output."""

    audio_features: str = "audio_features"


@dataclass(frozen=True, slots=True, kw_only=True)
class GenaiSpeech:
    """The section `speech`; empty names say that there is none, where the default would be speech.onnx."""

    filename: str = SPEECH_GRAPH
    config_filename: str = SPEECH_PROCESSOR
    inputs: SpeechInputs | None = SpeechInputs()
    outputs: SpeechOutputs | None = SpeechOutputs()


NO_SPEECH = GenaiSpeech(filename="", config_filename="", inputs=None, outputs=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingInputs:
    """Inputs of embedding.onnx."""

    input_ids: str = "input_ids"
    image_features: str = "image_features"
    audio_features: str | None = "audio_features"


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingOutputs:
    """Its output."""

    inputs_embeds: str = "inputs_embeds"


@dataclass(frozen=True, slots=True, kw_only=True)
class GenaiEmbedding:
    """The section `embedding`."""

    filename: str = EMBEDDING_GRAPH
    inputs: EmbeddingInputs = EmbeddingInputs()
    outputs: EmbeddingOutputs = EmbeddingOutputs()
