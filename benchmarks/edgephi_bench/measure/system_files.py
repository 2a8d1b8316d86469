"""Small files in which the system reports its state, under /proc and /sys."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def number_in(path: Path) -> float | None:
    """The number in a file; None where there is none, or it cannot be read."""
    with suppress(ValueError):
        return float(text_in(path))
    return None


def text_in(path: Path) -> str:
    """A file's text without white space around it; empty where it cannot be read, as of a process that has ended."""
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
