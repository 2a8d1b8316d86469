"""Phi-4-multimodal and Phi-4-mini on edge devices with ONNX Runtime: hear, see and answer, without PyTorch."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgephi.asynchronous import AsyncModel
    from edgephi.constraint import Grammar, JsonSchema, Regex
    from edgephi.errors import ArtifactError, CapacityError, ConfigError, EdgeError
    from edgephi.model import Model
    from edgephi.reply import Choice, DoneEvent, Event, Reply, TextEvent, Timing, TokenEvent, ToolCall, ToolCallEvent
    from edgephi.sampling import SamplingOptions
    from edgephi.stage import Stage
    from edgephi.transcription.transcript import Segment, Transcript
    from edgephi.transcription.whole import TranscriptProgress
    from edgephi.transcription.windows import WindowRules
    from edgephi.version import __version__

__all__ = [
    "ArtifactError",
    "AsyncModel",
    "CapacityError",
    "Choice",
    "ConfigError",
    "DoneEvent",
    "EdgeError",
    "Event",
    "Grammar",
    "JsonSchema",
    "Model",
    "Regex",
    "Reply",
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
    **dict.fromkeys(("ArtifactError", "CapacityError", "ConfigError", "EdgeError"), "edgephi.errors"),
    **dict.fromkeys(("Grammar", "JsonSchema", "Regex"), "edgephi.constraint"),
    **dict.fromkeys(
        ("Choice", "DoneEvent", "Event", "Reply", "TextEvent", "Timing", "TokenEvent", "ToolCall", "ToolCallEvent"),
        "edgephi.reply",
    ),
    "AsyncModel": "edgephi.asynchronous",
    "Model": "edgephi.model",
    "SamplingOptions": "edgephi.sampling",
    **dict.fromkeys(("Segment", "Transcript"), "edgephi.transcription.transcript"),
    "Stage": "edgephi.stage",
    "TranscriptProgress": "edgephi.transcription.whole",
    "WindowRules": "edgephi.transcription.windows",
    "__version__": "edgephi.version",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
