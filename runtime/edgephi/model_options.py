"""What a model may take of the machine.

Owns the limits and how memory is shared out among them. Knows nothing about what is kept.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgephi.base.errors import ConfigError
from edgephi.base.numbers import is_whole
from edgephi.bundle.manifest import CacheChoice
from edgephi.decoder.decoder import DEFAULT_CACHE_BYTES, DEFAULT_CHUNK

#: Of `cache_bytes`, the part for encoded images and clips: a row is a twentieth of its keys and values.
_MEDIA_SHARE = 16
DEFAULT_QUEUE = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLimits:
    """What a model may take of the machine; see `Model.load`."""

    max_context: int | None = None
    chunk: int = DEFAULT_CHUNK
    cache_bytes: int = DEFAULT_CACHE_BYTES
    max_queue: int = DEFAULT_QUEUE
    kv_cache: CacheChoice = "auto"

    def __post_init__(self) -> None:
        for name, least in (("chunk", 1), ("cache_bytes", 0), ("max_queue", 0)):
            value = getattr(self, name)
            if not (is_whole(value) and value >= least):
                raise ConfigError(f"{name} is {value!r}; use {least} or more")
        if self.max_context is not None and not (is_whole(self.max_context) and self.max_context >= 1):
            raise ConfigError(
                f"max_context is {self.max_context!r}; use 1 or more, or leave it out for the model's own"
            )

    @property
    def media_bytes(self) -> int:
        """What encoded media may keep."""
        return self.cache_bytes // _MEDIA_SHARE
