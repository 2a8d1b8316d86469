"""The keys that requests are made with: compared in the same time whatever is given."""

from __future__ import annotations

import hashlib
import hmac
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from edgephi.base.errors import ConfigError

_LEAST, _MOST = 8, 512


class Keys:
    """Names of keys by their sha256.

    Args:
        pairs: Name and key of each.
    """

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self._known = [(name, _digest(key)) for name, key in pairs]

    def __len__(self) -> int:
        return len(self._known)

    def name_of(self, given: str | None) -> str | None:
        """The name of a key; None for one that is not known. All known ones are always compared."""
        digest, found = _digest(given or ""), None
        for name, known in self._known:
            if hmac.compare_digest(digest, known):
                found = name
        return found if given else None


def read_keys(file: Path | None, key: str | None) -> Keys:
    """The keys of a file, `name:key` or `key` on each line, and one from the environment.

    Raises:
        ConfigError: The file cannot be read, others may write it, it holds no key, or one that is too short or long.
    """
    pairs = [] if key is None else [("environment", key)]
    return Keys([*pairs, *([] if file is None else _read(file))])


def _read(file: Path) -> list[tuple[str, str]]:
    try:
        mode = os.stat(file).st_mode
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise ConfigError(f"{file}: the keys cannot be read ({reason})") from None
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ConfigError(f"{file}: others may write it, so they could add keys; run: chmod go-w {file}")
    pairs = []
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        name, colon, key = text.partition(":")
        name, key = (name, key) if colon else (f"line{number}", name)
        if not _LEAST <= len(key) <= _MOST or not name.replace("-", "").replace("_", "").isalnum():
            raise ConfigError(
                f"{file}, line {number}: write KEY or NAME:KEY, a key of {_LEAST} to {_MOST} characters and a name of "
                "letters, digits, - and _"
            )
        pairs.append((name, key))
    if not pairs:
        raise ConfigError(f"{file}: holds no key; write one a line, such as from: openssl rand -hex 24")
    return pairs


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
