"""A folder that appears complete or not at all.

Owns the temporary sibling, the swap at the end and the check of free space. Knows nothing about what is inside.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from edgephi.bundle import MANIFEST_NAME
from edgephi.errors import CapacityError, ConfigError


def check_output(output: Path, *, force: bool, source: Path | None = None) -> None:
    """Refuse an output place that cannot or must not be written.

    Args:
        output: The folder to make.
        force: Whether an existing model folder may be replaced.
        source: A folder that must stay as it is.

    Raises:
        ConfigError: It exists and `force` is not given, it is something other than a model folder, its parent is
            missing or not writable, or it contains or equals `source`.
    """
    if source is not None and source.resolve().is_relative_to(output.resolve()):
        raise ConfigError(f"{output}: the checkpoint is in there; choose another output folder")
    if os.path.lexists(output):
        if not force:
            raise ConfigError(f"{output}: already exists; choose another folder, or --force replaces it when done")
        if not output.is_dir() or output.is_symlink() or not (output / MANIFEST_NAME).is_file():
            raise ConfigError(f"{output}: exists and is not an edgephi model folder; --force replaces only those")
    parent = output.absolute().parent
    if not parent.is_dir():
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
            f"{output}: the export needs {_megabytes(needed_bytes)}, the disk has {_megabytes(free)} free; "
            "free some space or choose another disk"
        )


@contextlib.contextmanager
def staged(output: Path) -> Iterator[Path]:
    """A temporary sibling of `output` that takes its place when the block ends well and vanishes otherwise.

    An existing `output` is replaced only at that moment, and put back if the swap fails.

    Raises:
        CapacityError: The disk filled up inside the block.
    """
    output = output.absolute()
    folder = output.with_name(f".{output.name}.partial-{os.getpid()}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
        _swap(folder, output)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise CapacityError(f"{output}: the disk filled up; nothing was kept. Free some space and retry") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _swap(folder: Path, output: Path) -> None:
    if not output.exists():
        folder.rename(output)
        return
    old = output.with_name(f".{output.name}.replaced-{os.getpid()}")
    output.rename(old)
    try:
        folder.rename(output)
    except BaseException:
        old.rename(output)
        raise
    shutil.rmtree(old)


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.0f} MB"
