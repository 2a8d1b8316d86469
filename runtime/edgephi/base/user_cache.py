"""The user's cache folder: what may be deleted at any time and is then made again."""

from __future__ import annotations

import os
from pathlib import Path


def user_cache() -> Path:
    """`edgephi` under `$XDG_CACHE_HOME` or `~/.cache`; it need not exist."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgephi"
