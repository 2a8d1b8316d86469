"""Which KV cache a folder is run with."""

from __future__ import annotations

from typing import get_args

from edgephi.base.errors import ConfigError
from edgephi.bundle.manifest import CacheChoice, CacheKind, Manifest


def cache_kind(manifest: Manifest, choice: CacheChoice) -> CacheKind:
    """What keys and values are kept in where `choice` is asked for: `auto` is int8 where the folder has it.

    Raises:
        ConfigError: The folder has no graphs for it, or `choice` is unknown.
    """
    if choice not in get_args(CacheChoice):
        *others, last = map(repr, get_args(CacheChoice))
        raise ConfigError(f"kv_cache is {choice!r}; use {', '.join(others)} or {last}")
    has_int8 = manifest.decoder.int8_cache is not None
    if choice == "auto":
        return "int8" if has_int8 else "float"
    if choice == "int8" and not has_int8:
        raise ConfigError(
            "int8 keys and values were asked for, but this model folder was made without their graphs; export it "
            "again with --kv-cache int8, or leave kv_cache at 'auto'"
        )
    return choice
