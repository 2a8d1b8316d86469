"""What a run was started with, in run.json: rows of another model or request must not be mixed with its own."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgephi.bundle.cache_choice import cache_kind

if TYPE_CHECKING:
    from edgephi.bundle.bundle import Bundle
    from edgephi_batch.work.ask import AskWork
    from edgephi_batch.work.transcription import TranscriptionWork

_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """The content of run.json.

    Attributes:
        edgephi_batch: Version of the format.
        command: `ask` or `transcribe`.
        model: Hash of the model folder's manifest, and what keys and values are kept in.
        request: The prompt and the options that change a row, as JSON.
    """

    edgephi_batch: int = _VERSION
    command: str
    model: str
    request: str

    def difference(self, other: RunRecord) -> str | None:
        """The part that differs, in words; None where none does."""
        words = {"edgephi_batch": "version of edgephi", "request": "prompt or other options"}
        for field in dataclasses.fields(self):
            if getattr(self, field.name) != getattr(other, field.name):
                return words.get(field.name, field.name)
        return None


def record_of(bundle: Bundle, work: AskWork | TranscriptionWork, command: str) -> RunRecord:
    """The record of a run.

    Raises:
        ConfigError: The folder has no graphs for the wanted KV cache.
    """
    kind = cache_kind(bundle.manifest, work.model.options.kv_cache)
    request = {
        field.name: _plain(getattr(work, field.name)) for field in dataclasses.fields(work) if field.name != "model"
    }
    return RunRecord(command=command, model=f"{bundle.manifest_sha256} {kind}", request=json.dumps(request))


def _plain(value: object) -> object:
    """A value that JSON has; of anything else its hash, which is equal for equal values."""
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return hashlib.sha256(repr(value).encode()).hexdigest()
