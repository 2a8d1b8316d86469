"""Where files are cut into chunks: where tensors begin, so that the chunks of one that changed are no others' too."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MOST_BYTES = 4 << 20
#: Smaller neighbours are one chunk.
_LEAST_BYTES = 64 << 10


def tensor_offsets(model: Path) -> dict[str, tuple[int, ...]]:
    """Where tensors begin in each weight file of a model folder, by the file's path in it."""
    found: dict[str, set[int]] = {}
    for file, offset in _references(json.loads((model / "tensors.json").read_text(encoding="utf-8"))):
        found.setdefault(file, set()).add(offset)
    return {file: tuple(sorted(offsets)) for file, offsets in found.items()}


def cuts(size: int, offsets: tuple[int, ...] = ()) -> tuple[int, ...]:
    """The ends of the chunks of a file.

    Args:
        size: Of the file, in bytes.
        offsets: Where its tensors begin, rising.
    """
    ends, start = [], 0
    for edge in (*(offset for offset in offsets if 0 < offset < size), size):
        if edge - start < _LEAST_BYTES and edge != size:
            continue
        while edge - start > MOST_BYTES:
            start += MOST_BYTES
            ends.append(start)
        if edge > start:
            ends.append(edge)
            start = edge
    return tuple(ends)


def _references(value: Any) -> Iterator[tuple[str, int]]:
    """Every `{"file": ..., "offset": ...}` below."""
    if isinstance(value, dict):
        if isinstance(value.get("file"), str) and isinstance(value.get("offset"), int):
            yield value["file"], value["offset"]
        for one in value.values():
            yield from _references(one)
    elif isinstance(value, list):
        for one in value:
            yield from _references(one)
