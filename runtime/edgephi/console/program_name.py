"""How this program was started, as it can be typed again from here."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

NAME = "edgephi"


def program_words() -> list[str]:
    """`["edgephi"]` where the shell finds it, else its path, or the interpreter with `-m edgephi`."""
    started = Path(sys.argv[0])
    if started.name == NAME:
        found = shutil.which(NAME)
        if found is not None and os.path.samefile(found, _existing(started) or found):
            return [NAME]
        if (path := _existing(started)) is not None:
            return [_from_here(path)]
    return [_from_here(Path(sys.executable)), "-m", NAME]


def command_line(*words: str) -> str:
    """A command of this program, quoted for a shell."""
    return shlex.join([*program_words(), *words])


def _existing(path: Path) -> Path | None:
    return path.absolute() if path.is_file() else None


def _from_here(path: Path) -> str:
    """Relative where it lies below the current folder, so that it is short and stays right if that is moved."""
    try:
        relative = path.absolute().relative_to(Path.cwd())
    except ValueError:
        return str(path)
    return str(relative) if len(relative.parts) > 1 else os.path.join(".", relative)
