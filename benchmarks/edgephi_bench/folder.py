"""A checkpoint folder that appears whole or not at all.

Owns the temporary sibling, the swap at the end, the check of free space and the mark that tells a synthetic
checkpoint from anything else. Knows nothing about what is inside.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from edgephi.errors import CapacityError, ConfigError, EdgeError

#: Says how a folder was made; --force replaces only folders that have it.
MARK_NAME = "synthetic.json"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def check_output(output: Path, *, force: bool) -> None:
    """Refuse a place that cannot or must not be written.

    Raises:
        ConfigError: It exists and `force` is not given, it is something other than a synthetic checkpoint, or its
            parent is missing or not writable.
    """
    if output.name in {"", ".."}:
        raise ConfigError(f"{output}: names no folder of its own; give the new folder's name")
    if os.path.lexists(output):
        if not force:
            raise ConfigError(f"{output}: already exists; choose another folder, or --force replaces it when done")
        if not output.is_dir() or output.is_symlink() or not (output / MARK_NAME).is_file():
            raise ConfigError(f"{output}: exists and is not a synthetic checkpoint; --force replaces only those")
    parent = output.absolute().parent
    if not os.path.isdir(parent):  # Path.is_dir raises where the name is too long
        raise ConfigError(f"{parent}: no such folder; make it first, or choose another output folder")
    if not os.access(parent, os.W_OK):
        raise ConfigError(f"{parent}: not writable; choose another output folder")


def check_space(output: Path, needed_bytes: int) -> None:
    """Refuse to start what would not fit.

    Raises:
        CapacityError: The file system of `output` has less than `needed_bytes` free.
    """
    free = shutil.disk_usage(output.absolute().parent).free
    if free < needed_bytes:
        raise CapacityError(
            f"{output}: the checkpoint needs {needed_bytes / 1e6:,.0f} MB, the disk has {free / 1e6:,.0f} MB free; "
            "free some space, choose another disk, or make a smaller one with --layers"
        )


@contextlib.contextmanager
def appearing(output: Path, *, force: bool) -> Iterator[Path]:
    """A temporary sibling of `output` that takes its place when the block ends well and vanishes otherwise.

    Raises:
        ConfigError: `output` appeared inside the block and must not be replaced.
        CapacityError: The disk filled up inside the block.
        EdgeError: The operating system refused something else inside the block.
    """
    output = output.absolute()
    partial = output.with_name(f".{output.name}.partial-{os.getpid()}")
    try:
        partial.mkdir()
        yield partial
        check_output(output, force=force)
        _swap(partial, output)
    except OSError as error:
        if error.errno in _FULL:
            raise CapacityError(f"{output}: the disk filled up; nothing was kept. Free some space and retry") from error
        raise EdgeError(f"{output}: cannot be written ({error.strerror or error}); nothing was kept") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _swap(partial: Path, output: Path) -> None:
    """Put `partial` in the place of `output`; an interruption at any point leaves one whole folder there."""
    old = output.with_name(f".{output.name}.replaced-{os.getpid()}")
    try:
        if output.exists():
            output.rename(old)
        partial.rename(output)
    finally:
        if old.exists() and not output.exists():
            old.rename(output)
        shutil.rmtree(old, ignore_errors=True)
