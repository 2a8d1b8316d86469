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

_MAPS = Path("/proc/self/maps")
#: Address range, permissions and path of a file's mapping that this process cannot write: changes would be lost.
_READ_ONLY = re.compile(r"([0-9a-f]+)-([0-9a-f]+) r-[-x]. \S+ \S+ \d+ +(/.*)")
_MADV_DONTNEED = 4


def release_mapped_pages(folder: Path) -> None:
    """Drop the resident pages of the files below `folder` that are mapped for reading. Does nothing off Linux."""
    if not sys.platform.startswith("linux"):
        return
    library = ctypes.CDLL(None)
    for start, end in _mapped_below(folder.resolve()):
        library.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _MADV_DONTNEED)


def _mapped_below(folder: Path) -> Iterator[tuple[int, int]]:
    try:
        lines = _MAPS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:  # no proc file system: only a saving is lost
        return
    for line in lines:
        if (found := _READ_ONLY.fullmatch(line)) and folder in Path(found[3]).parents:
            yield int(found[1], 16), int(found[2], 16)
