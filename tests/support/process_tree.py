"""The processes below another, by what they call themselves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


def descendants(process_id: int, name: str) -> list[int]:
    """Processes below this one whose command line begins with `name`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            begins = path.read_bytes().startswith(name.encode())
        except OSError:
            continue
        number = int(path.parent.name)
        if begins and process_id in _ancestors(number):
            found.append(number)
    return sorted(found)


def _ancestors(process_id: int) -> Iterator[int]:
    while process_id > 1:
        try:
            stat = Path(f"/proc/{process_id}/stat").read_text(encoding="utf-8")
        except OSError:
            return
        process_id = int(stat.rpartition(")")[2].split()[1])
        yield process_id
