"""The units with which systemd runs a device's server, its agent, and both sides of a change of releases."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

from edgephi_agent.errors import RequestError

_SANDBOX = "sandbox"


def unit_files(root: Path) -> Iterator[tuple[str, str]]:
    """Names and texts of the units.

    Args:
        root: The agent's folder.
    """
    folder = files("edgephi_agent") / "units"
    values = {
        "@SANDBOX@": (folder / _SANDBOX).read_text(encoding="utf-8"),
        "@AGENT@": f"{sys.executable} -m edgephi_agent",
        "@ROOT@": str(root),
    }
    for file in sorted(folder.iterdir(), key=lambda one: one.name):
        if file.name != _SANDBOX:
            text = file.read_text(encoding="utf-8")
            for name, value in values.items():
                text = text.replace(name, value)
            yield file.name, text


def write_units(root: Path, folder: Path) -> list[str]:
    """Write the units into a folder, such as /etc/systemd/system; those of an earlier agent are replaced.

    Args:
        root: The agent's folder.
        folder: Exists.

    Returns:
        Their paths.

    Raises:
        RequestError: A path has a character that units have another meaning for, or the folder is missing.
    """
    if not folder.is_dir():
        raise RequestError(f"{folder}: no such folder; give the one of the units, such as /etc/systemd/system")
    for path in (str(root), sys.executable):
        if any(character in " \t\n\"'\\%$;" for character in path):
            raise RequestError(f"{path}: units cannot name a path with spaces, quotes, % or $; choose another place")
    written = []
    for name, text in unit_files(root):
        (folder / name).write_text(text, encoding="utf-8")
        written.append(str(folder / name))
    return written
