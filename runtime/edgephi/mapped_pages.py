"""Gives back memory that mapped weight files hold.

Owns the request to the system. Knows nothing about ONNX Runtime, which maps the files, packs what it needs of them and
leaves the rest resident: of the real model's `int4`, 536 MB of scales that nothing reads again. A page that is read
after all comes back from the file.
"""

from __future__ import annotations

import ctypes
import re
import sys
from collections.abc import Iterator
from pathlib import Path

_MAPS, _SIZED_MAPS = Path("/proc/self/maps"), Path("/proc/self/smaps")
#: Address range and path of a file's mapping such as ONNX Runtime makes, private and writable.
_HEAD = r"^([0-9a-f]+)-([0-9a-f]+) rw-p \S+ \S+ \d+ +(/.*)$"
_MAPPING = re.compile(_HEAD, re.MULTILINE)
#: The same and how much of it this process has changed: changes would be lost.
_SIZED_MAPPING = re.compile(_HEAD + r"\n(?:[A-Z].*\n)*?Anonymous: +(\d+) kB", re.MULTILINE)
_MADV_DONTNEED = 4

Mapping = tuple[str, str, str]


def mapped_files() -> frozenset[Mapping]:
    """The mappings that this process has at present; none off Linux."""
    return frozenset(match for match in _MAPPING.findall(_read(_MAPS)))


def release_mapped_pages(folder: Path, before: frozenset[Mapping]) -> None:
    """Drop the resident pages of the files below `folder` that are mapped and unchanged. Does nothing off Linux.

    Args:
        folder: Holds the files.
        before: Mappings to leave alone. What was mapped since must stay mapped while this runs: an address that is
            given to other memory in between would lose what it holds.
    """
    if not sys.platform.startswith("linux"):
        return
    library = ctypes.CDLL(None)
    for start, end in _mapped_since(folder.resolve(), before):
        library.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _MADV_DONTNEED)


def _mapped_since(folder: Path, before: frozenset[Mapping]) -> Iterator[tuple[int, int]]:
    for start, end, path, changed_kb in _SIZED_MAPPING.findall(_read(_SIZED_MAPS)):
        if changed_kb == "0" and (start, end, path) not in before and folder in Path(path).parents:
            yield int(start, 16), int(end, 16)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:  # no proc file system: only a saving is lost
        return ""
