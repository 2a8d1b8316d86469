"""Small releases for the agent, and a bundle of theirs in memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgephi_agent.index import SignedIndex

#: The command that judges a small release: a file of its own.
PROBE_PATH = "bin/probe"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True)
class MadeRelease:
    """An index with the bytes of its chunks."""

    index: SignedIndex
    contents: tuple[bytes, ...]


class MemoryBundle:
    """Carries all chunks of a release, or those of a delta."""

    def __init__(self, made: MadeRelease, without: Sequence[int] = ()) -> None:
        self._made, self._without = made, set(without)
        self.read: list[int] = []

    def chunk(self, index: int) -> bytes | None:
        self.read.append(index)
        return None if index in self._without else self._made.contents[index]

    def finish(self) -> None:
        pass


def make_release(counter: int, files: Mapping[str, Sequence[bytes]], /, **changes: Any) -> MadeRelease:
    """A release whose files consist of these pieces; `changes` are to `release.json`."""
    raw, contents = release_json(counter, files)
    return MadeRelease(SignedIndex.read(json.dumps(raw | changes, sort_keys=True).encode()), contents)


def release_json(counter: int, files: Mapping[str, Sequence[bytes]]) -> tuple[dict[str, Any], tuple[bytes, ...]]:
    """The values of `release.json`, and the chunks."""
    pieces: dict[str, bytes] = {}
    listed = []
    for path, parts in ({PROBE_PATH: [b"#!/bin/sh\n"]} | dict(files)).items():
        pieces |= {sha256(part): part for part in parts}
        whole = b"".join(parts)
        listed.append(
            {
                "path": path,
                "bytes": len(whole),
                "sha256": sha256(whole),
                "mode": 0o555 if path.startswith("bin/") else 0o444,
                "chunks": [list(pieces).index(sha256(part)) for part in parts],
            }
        )
    raw = {
        "schema": 1,
        "appliance": "test",
        "version": f"{counter}.0",
        "counter": counter,
        "created": f"2026-11-{counter:02d}T00:00:00Z",
        "files": listed,
        "chunks": [{"sha256": name, "bytes": len(part)} for name, part in pieces.items()],
        "probe": {"command": [PROBE_PATH], "deadline_s": 20},
    }
    return raw, tuple(pieces.values())
