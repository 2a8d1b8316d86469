"""Example requests with their right answers, from a folder: what a model is calibrated on, and what it is compared on.

    examples.jsonl   one JSON object a line, UTF-8; empty lines are skipped
    *.wav, *.png     the media that the lines name, by paths relative to the folder

    {"messages": "Transcribe the audio clip into text.", "audio": ["kitchen.wav"], "answer": "turn on the kitchen lamp",
     "measure": "wer", "set": "unseen voices"}

messages  one user turn, or messages of the OpenAI chat shape; text only, media are placed as in `Request`
images    paths; `audio` likewise
tools     as in `Request`
answer    the right reply; control tokens such as <|tool_call|> may be spelled in it, the end token may not
measure   how a reply is judged by the answer: wer, cer or exact; without it, it is not judged
set       name of a group whose replies are judged together; without it, the mode
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from edgephi import Request
from edgephi.audio.decoding import load_audio
from edgephi.base.errors import ConfigError, EdgeError
from edgephi.bundle.manifest import Adapter
from edgephi.images.decoding import load_image
from edgephi.prompt.routing import ROUTES, Mode

EXAMPLES_NAME = "examples.jsonl"
Measure = Literal["wer", "cer", "exact"]
_KEYS = ("messages", "images", "audio", "tools", "answer", "measure", "set")
_ADVICE = f"give a folder with {EXAMPLES_NAME}; docs/fidelity.md describes it"


# Compared by identity, as the request in it.
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Example:
    """One request, and the reply that is right.

    Attributes:
        name: Where it comes from, such as `examples.jsonl:12`.
        request: Without a forced adapter, so that the model's rule decides.
        answer: The right reply; None where none is known.
        measure: How a reply is judged by the answer; None where it is not judged.
        group: Examples of one group are judged together.
        digest: sha256 of the line and of its media's files.
        mode: Which media the request has.
    """

    name: str
    request: Request
    answer: str | None = None
    measure: Measure | None = None
    group: str = ""
    digest: str
    mode: Mode = field(init=False)

    def __post_init__(self) -> None:
        mode = mode_of(self.request)
        # A frozen dataclass sets what it derives in no other way.
        object.__setattr__(self, "mode", mode)
        object.__setattr__(self, "group", self.group or mode)

    @property
    def adapter(self) -> Adapter:
        """The one that serves it where adapters are routed."""
        return ROUTES[self.mode].adapter


def mode_of(request: Request) -> Mode:
    """Which media a request has."""
    kinds = {item.kind for turn in request.turns for item in turn.items if not isinstance(item, str)}
    media = ("image" in kinds, "audio" in kinds)
    return next(mode for mode, route in ROUTES.items() if (route.has_images, route.has_audio) == media)


def read_examples(folder: str | Path) -> tuple[Example, ...]:
    """Read and check every example of a folder; every image and audio file is decoded once.

    Raises:
        ConfigError: There is no such folder or file, it has no examples, or a line cannot be used. The message names
            the file and the line.
    """
    folder = Path(folder)
    path = folder / EXAMPLES_NAME
    if not path.is_file():
        raise ConfigError(f"{folder}: has no {EXAMPLES_NAME}; {_ADVICE}")
    checked: dict[Path, str] = {}
    examples = tuple(_example(folder, text, f"{path}:{number}", checked) for number, text in _lines(path))
    if not examples:
        raise ConfigError(f"{path}: has no examples; {_ADVICE}")
    return examples


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines that are not empty, with their numbers from 1 on."""
    number = 0
    try:
        with path.open(encoding="utf-8-sig") as stream:
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    yield number, line
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}:{number + 1}: not UTF-8 ({error.reason}); convert the file") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror or error})") from None


def _example(folder: Path, text: str, where: str, checked: dict[Path, str]) -> Example:
    raw = _object(text, where)
    images, audio = (tuple(folder / name for name in _paths(raw, kind, where)) for kind in ("images", "audio"))
    answer, measure, group = (_optional_text(raw, key, where) for key in ("answer", "measure", "set"))
    if measure is not None and measure not in get_args(Measure):
        raise ConfigError(f"{where}: measure is {measure!r:.60}; use {', '.join(get_args(Measure))}, or leave it out")
    if measure is not None and answer is None:
        raise ConfigError(f"{where}: measure is {measure!r}, but there is no answer to judge by; add one")
    if answer is not None and not answer.strip():
        raise ConfigError(f"{where}: the answer is empty; write the right reply, or leave it out")
    try:
        request = Request(raw["messages"], images=images, audio=audio, tools=raw.get("tools"), paths=False)
        sums = [_media_sum(path, load_image, checked) for path in images]
        sums += [_media_sum(path, load_audio, checked) for path in audio]
    except EdgeError as error:
        raise ConfigError(f"{where}: {error}") from None
    digest = hashlib.sha256("\n".join([json.dumps(raw, sort_keys=True), *sums]).encode()).hexdigest()
    return Example(
        name=f"{EXAMPLES_NAME}:{where.rpartition(':')[2]}",
        request=request,
        answer=answer,
        measure=measure,  # type: ignore[arg-type]
        group=group or "",
        digest=digest,
    )


def _object(text: str, where: str) -> dict[str, Any]:
    """The JSON object of a line, whose keys are known."""
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{where}: not valid JSON ({error}); write one object a line") from None
    if not isinstance(raw, dict):
        raise ConfigError(f"{where}: a JSON {type(raw).__name__}; write one object a line, with messages")
    if unknown := sorted(raw.keys() - set(_KEYS)):
        raise ConfigError(f"{where}: unknown key {unknown[0]!r:.60}; known: {', '.join(_KEYS)}")
    if "messages" not in raw:
        raise ConfigError(f"{where}: messages are missing; give a string, or messages with role and content")
    return raw


def _paths(raw: dict[str, Any], kind: str, where: str) -> tuple[str, ...]:
    paths = raw.get(kind, [])
    if not isinstance(paths, list) or not all(isinstance(path, str) and path for path in paths):
        raise ConfigError(f"{where}: {kind} is {paths!r:.60}; give a list of paths")
    return tuple(paths)


def _optional_text(raw: dict[str, Any], key: str, where: str) -> str | None:
    value = raw.get(key)
    if value is not None and not isinstance(value, str):
        raise ConfigError(f"{where}: {key} is {value!r:.60}; it must be a string")
    return value


def _media_sum(path: Path, load: Callable[[Path], object], checked: dict[Path, str]) -> str:
    """sha256 of a file that `load` can decode."""
    if path not in checked:
        load(path)
        with path.open("rb") as stream:
            checked[path] = hashlib.file_digest(stream, "sha256").hexdigest()
    return checked[path]
