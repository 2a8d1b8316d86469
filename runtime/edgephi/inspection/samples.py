"""The samples that `edgephi demo` runs: requests, each with the answer that is right.

    {"samples": [{"mode": "speech", "title": "A spoken command", "prompt": "Transcribe the audio clip into text.",
                  "audio": "kitchen.wav", "expected": "turn on the kitchen lamp"}, ...]}

Paths are relative to the folder of `samples.json`. `tools` is the JSON text of the tools offered in the system turn;
such a sample's `expected` is the JSON list of calls. `mode` says which media there are.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgephi.base.errors import ArtifactError
from edgephi.base.json_file import decode, read_json
from edgephi.prompt.routing import ROUTES, Mode
from edgephi.prompt.system_turn import with_system

if TYPE_CHECKING:
    from edgephi.generation.reply import Reply

SAMPLES_NAME = "samples.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One request with its right answer."""

    mode: Mode
    title: str
    prompt: str
    expected: str
    system: str | None = None
    tools: str | None = None
    image: str | None = None
    audio: str | None = None

    def __post_init__(self) -> None:
        route = ROUTES[self.mode]
        if (self.image is not None, self.audio is not None) != (route.has_images, route.has_audio):
            raise ValueError(f"mode is {self.mode!r} but image is {self.image!r} and audio is {self.audio!r}")
        if self.tools is not None and not isinstance(_json_or_none(self.expected), list):
            raise ValueError("expected must be a JSON list of calls when tools are given")

    def media(self) -> list[tuple[str, str]]:
        """`image` or `audio`, and the name of the file, for each there is."""
        pairs = (("image", self.image), ("audio", self.audio))
        return [(kind, name) for kind, name in pairs if name is not None]

    def messages(self) -> list[dict[str, Any]]:
        """The chat of the request."""
        return with_system([{"role": "user", "content": self.prompt}], self.system, self.tools)

    def is_right(self, reply: Reply) -> bool:
        """Whether the reply is the expected one: the same calls, or the same text without outer white space."""
        if self.tools is None:
            return reply.text.strip() == self.expected.strip()
        calls = [{"name": call.name, "arguments": call.arguments} for call in reply.tool_calls if call.error is None]
        return len(calls) == len(reply.tool_calls) and calls == _json_or_none(self.expected)


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleList:
    """The content of `samples.json`."""

    samples: tuple[Sample, ...]


def read_samples(folder: Path) -> tuple[Sample, ...]:
    """Read `samples.json` and check that every file it names is there.

    Raises:
        ArtifactError: It is missing, malformed or empty, or names a file that is not there.
    """
    path = folder / SAMPLES_NAME
    samples = decode(SampleList, read_json(path, "; give the folder that holds it"), str(path)).samples
    if not samples:
        raise ArtifactError(f"{path}: has no samples")
    for _, name in (pair for sample in samples for pair in sample.media()):
        if not (folder / name).is_file():
            raise ArtifactError(f"{folder / name}: missing, but {SAMPLES_NAME} names it")
    return samples


def _json_or_none(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
