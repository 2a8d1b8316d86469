"""A growing file of reports, one JSON object a line."""

from __future__ import annotations

import os
from pathlib import Path

from edgephi.base.errors import ConfigError, EdgeError


def check_appendable(path: Path) -> None:
    """Refuse what cannot be appended to, before minutes are spent.

    Raises:
        ConfigError: A folder, a file of something else, or a place that cannot be written.
    """
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise ConfigError(f"--append {path}: cannot be written; give a file in a folder that exists")
    if not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
        raise ConfigError(f"--append {path}: may not be written; choose another file")
    if path.is_file() and path.stat().st_size:
        with path.open("rb") as file:
            if file.read(1) != b"{":
                raise ConfigError(f"--append {path}: has something other than reports in it; choose another file")


def append_line(path: Path, line: str) -> EdgeError | None:
    """One write in append mode, so that several programs can share the file; a last line that was cut off is ended.

    Returns:
        What went wrong, so that the report can be given out elsewhere first.
    """
    try:
        with path.open("ab+") as file:
            cut = False
            if file.tell():
                file.seek(-1, os.SEEK_END)
                cut = file.read(1) != b"\n"
            file.write(("\n" if cut else "").encode() + line.encode() + b"\n")
    except OSError as error:
        return EdgeError(f"--append {path}: cannot be written ({error.strerror or error})")
    return None
