"""The origin of a transcript: another recording, model or request gives another text."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgephi.base.errors import EdgeError

if TYPE_CHECKING:
    from edgephi.bundle.manifest import CacheChoice

_EDGE_BYTES = 1 << 20
_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The source of a transcript; another one gives another text.

    Attributes:
        recording: Bytes and hash of the file's ends; None for what can be read only once.
        duration_s: Of the recording, as its header has it.
        model: Hash of the model folder's manifest, and how it runs.
        request: Prompt and options, as JSON.
    """

    edgephi_partial: int = _VERSION
    recording: str | None
    duration_s: float
    model: str
    request: str

    def difference(self, other: Origin) -> str | None:
        """The part that differs, in words; None where none does."""
        words = {"edgephi_partial": "version of edgephi", "recording": "recording", "duration_s": "recording"}
        for name in ("edgephi_partial", "recording", "duration_s", "model", "request"):
            if getattr(self, name) != getattr(other, name):
                return words.get(name, {"model": "model", "request": "prompt or other options"}.get(name, name))
        return None


def recording_id(file: str) -> str | None:
    """Size and hash of the first and the last MiB of a file; None where it is none."""
    with suppress(OSError, ValueError):
        if os.path.isfile(file):
            with open(file, "rb") as stream:
                digest = hashlib.sha256(stream.read(_EDGE_BYTES))
                size = stream.seek(0, os.SEEK_END)
                stream.seek(max(size - _EDGE_BYTES, 0))
                digest.update(stream.read(_EDGE_BYTES))
            return f"{size}-{digest.hexdigest()}"
    return None


def model_id(folder: Path, kv_cache: CacheChoice) -> str:
    """Hash of a model folder's manifest, which has those of all other files, and what keys and values are kept in."""
    from edgephi.bundle.bundle import Bundle
    from edgephi.bundle.cache_choice import cache_kind

    try:
        bundle = Bundle(folder)
        return f"{bundle.manifest_sha256} {cache_kind(bundle.manifest, kv_cache)}"
    except (EdgeError, OSError):  # loading says what is wrong
        return ""


def request_text(options: object, but: tuple[str, ...] = ()) -> str:
    """A dataclass of options as JSON, without the fields that are named and without functions."""
    plain = {name: value for name, value in _plain(options).items() if name not in but}
    return json.dumps(plain, sort_keys=True, ensure_ascii=False)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return {name: _plain(item) for name, item in fields.items() if not callable(item)}
    return value if value is None or isinstance(value, str | int | float | bool) else repr(value)
