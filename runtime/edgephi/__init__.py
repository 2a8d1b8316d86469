"""Phi-4-multimodal and Phi-4-mini on edge devices with ONNX Runtime: text, images and audio in, text out."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgephi.async_model import AsyncModel
    from edgephi.base.errors import ArtifactError, CapacityError, ConfigError, EdgeError
    from edgephi.base.stage import Stage
    from edgephi.base.version import __version__
    from edgephi.generation.constraint import Grammar, JsonSchema, Regex
    from edgephi.generation.reply import (
        Choice,
        DoneEvent,
        Event,
        Reply,
        TextEvent,
        TokenEvent,
        ToolCallEvent,
    )
    from edgephi.generation.sampler import SamplingOptions
    from edgephi.generation.timing import Timing
    from edgephi.generation.tool_calls import ToolCall
    from edgephi.model import Model
    from edgephi.model_options import ModelOptions
    from edgephi.prepared_request import AudioCost, ImageCost, PreparedRequest, RequestCost
    from edgephi.request import Request
    from edgephi.transcription.transcript import Segment, Transcript
    from edgephi.transcription.whole import TranscriptProgress
    from edgephi.transcription.windows import WindowRules

__all__ = [
    "ArtifactError",
    "AsyncModel",
    "AudioCost",
    "CapacityError",
    "Choice",
    "ConfigError",
    "DoneEvent",
    "EdgeError",
    "Event",
    "Grammar",
    "ImageCost",
    "JsonSchema",
    "Model",
    "ModelOptions",
    "PreparedRequest",
    "Regex",
    "Reply",
    "Request",
    "RequestCost",
    "SamplingOptions",
    "Segment",
    "Stage",
    "TextEvent",
    "Timing",
    "TokenEvent",
    "ToolCall",
    "ToolCallEvent",
    "Transcript",
    "TranscriptProgress",
    "WindowRules",
    "__version__",
]

# Loaded on first use (PEP 562): `edgephi --help` and the host packages need none of these.
_HOME = {
    **dict.fromkeys(("ArtifactError", "CapacityError", "ConfigError", "EdgeError"), "edgephi.base.errors"),
    **dict.fromkeys(("Grammar", "JsonSchema", "Regex"), "edgephi.generation.constraint"),
    **dict.fromkeys(
        ("Choice", "DoneEvent", "Event", "Reply", "TextEvent", "TokenEvent", "ToolCallEvent"),
        "edgephi.generation.reply",
    ),
    "AsyncModel": "edgephi.async_model",
    "Model": "edgephi.model",
    "ModelOptions": "edgephi.model_options",
    **dict.fromkeys(("AudioCost", "ImageCost", "PreparedRequest", "RequestCost"), "edgephi.prepared_request"),
    "Request": "edgephi.request",
    "SamplingOptions": "edgephi.generation.sampler",
    **dict.fromkeys(("Segment", "Transcript"), "edgephi.transcription.transcript"),
    "Stage": "edgephi.base.stage",
    "Timing": "edgephi.generation.timing",
    "ToolCall": "edgephi.generation.tool_calls",
    "TranscriptProgress": "edgephi.transcription.whole",
    "WindowRules": "edgephi.transcription.windows",
    "__version__": "edgephi.base.version",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
