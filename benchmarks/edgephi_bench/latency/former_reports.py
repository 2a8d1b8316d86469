"""Reports of versions 2 to 4, whose conditions were phrases, in the form of today."""

from __future__ import annotations

import re
from typing import Any

from edgephi.base.errors import ArtifactError
from edgephi_bench.measure.condition import Condition

VERSIONS = (2, 3, 4)
_NAMES = {"prompt positions": "prompt tokens"}
#: In the order in which they are tried; each matches a whole phrase, and its groups are the condition's numbers.
_PHRASES: tuple[tuple[str, dict[str, str]], ...] = (
    (r"depth (?P<depth>\d+)(?:, (?P<new_tokens>\d+) new)?, (?P<threads>\d+) threads?", {"kind": "decode"}),
    (r"(?P<tokens>\d+) tokens, (?P<threads>\d+) threads?", {"kind": "prefill"}),
    (r"(?P<threads>\d+) threads?", {"kind": "load"}),
    (r"prompt of about (?P<tokens>\d+) tokens(?:, (?P<new_tokens>\d+) new)?", {"kind": "request"}),
    (r"(?:audio|clip) of (?P<audio_s>[\d.e+]+) s", {"kind": "request"}),
    (r"(?:image|picture) of (?P<image_width>\d+)x(?P<image_height>\d+)", {"kind": "request"}),
    (r"own prompt, (?P<prompt>.*)", {"kind": "request"}),
    (r"(?:context (?P<context>\d+))?", {"kind": "memory"}),
)


def parse_phrase(phrase: object, where: str) -> Condition:
    """The condition that a former report wrote as `depth 1000, 2 threads`.

    Raises:
        ArtifactError: No version wrote such a phrase.
    """
    for pattern, kind in _PHRASES:
        if isinstance(phrase, str) and (found := re.fullmatch(pattern, phrase, re.DOTALL)):
            numbers = {
                name: text if name == "prompt" else float(text) if name == "audio_s" else int(text)
                for name, text in found.groupdict().items()
                if text is not None
            }
            return Condition(**kind, **numbers)  # type: ignore[arg-type]  # the groups are its fields
    raise ArtifactError(f"{where}: {phrase!r} is not a condition that `edgephi bench` wrote")


def update(raw: dict[str, Any], where: str) -> None:
    """Give the figures, floors, repetitions and rounds of a former report the names and conditions of today.

    Args:
        raw: The parsed JSON; changed in place.
        where: The file, for messages.

    Raises:
        ArtifactError: A condition cannot be read.
    """
    for item in conditioned(raw):
        if "condition" in item:
            item["setting"] = parse_phrase(item["condition"], where).values
        name = item.get("name")
        if isinstance(name, str):
            item["name"] = _NAMES.get(name, name)


def conditioned(raw: dict[str, Any]) -> list[dict[str, Any]]:
    """All objects of a report that have a condition."""
    rounds = [item["round"] for item in objects(raw, "rounds") if isinstance(item.get("round"), dict)]
    kinds = ("figures", "floors", "arithmetic", "repeats")
    return [*(item for kind in kinds for item in objects(raw, kind)), *rounds]


def objects(raw: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """The objects of a list; what else is there is refused when the report is decoded."""
    items = raw.get(key)
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
