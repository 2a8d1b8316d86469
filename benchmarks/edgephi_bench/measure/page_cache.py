"""Dropping a model's files from the page cache, so that the next load reads the disk."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path


def drop_from_cache(paths: Iterable[Path]) -> bool:
    """Ask the kernel to evict these files' pages; needs no privilege, and other files keep theirs.

    Returns:
        Whether this system can be asked. Pages that are dirty or mapped by a running process stay.
    """
    if not hasattr(os, "posix_fadvise"):
        return False
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)  # dirty pages cannot be dropped
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
    return True
