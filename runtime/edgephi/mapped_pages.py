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

_MAPS = Path("/proc/self/smaps")
#: Address range and path of a file's mapping, and how much of it this process has changed: changes would be lost.
_MAPPING = re.compile(
    r"^([0-9a-f]+)-([0-9a-f]+) r... \S+ \S+ \d+ +(/.*)\n(?:[A-Z].*\n)*?Anonymous: +(\d+) kB", re.MULTILINE
)
_MADV_DONTNEED = 4


def release_mapped_pages(folder: Path) -> None:
    """Drop the resident pages of the files below `folder` that are mapped and unchanged. Does nothing off Linux."""
    if not sys.platform.startswith("linux"):
        return
    library = ctypes.CDLL(None)
    for start, end in _mapped_below(folder.resolve()):
        library.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _MADV_DONTNEED)


def _mapped_below(folder: Path) -> Iterator[tuple[int, int]]:
    try:
        text = _MAPS.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:  # no proc file system: only a saving is lost
        return
    for start, end, path, changed_kb in _MAPPING.findall(text):
        if changed_kb == "0" and folder in Path(path).parents:
            yield int(start, 16), int(end, 16)
