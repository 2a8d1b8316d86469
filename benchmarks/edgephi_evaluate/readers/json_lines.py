"""Objects of a file of JSON lines, whatever the file's suffix."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgephi.base.errors import ArtifactError


def json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Every object, in order; empty lines are left out.

    Raises:
        ArtifactError: The file cannot be read, or a line is no JSON object.
    """
    try:
        with path.open(encoding="utf-8-sig") as stream:
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    yield _object(line, f"{path}, line {number:,}")
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise ArtifactError(f"{path}: not UTF-8 at byte {error.start:,}; convert it") from error


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{where}: not valid JSON ({error})") from error
    if not isinstance(value, dict):
        raise ArtifactError(f"{where}: no JSON object; give one object a line")
    return value
