"""Folders that appear complete or not at all, and the check of free space."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgephi.base.errors import CapacityError, ConfigError, EdgeError
from edgephi.base.units import human_bytes

_MOST_NAME_BYTES = 120
#: How the operating system says that a disk is full.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True, slots=True)
class FolderKind:
    """An output of a command.

    Attributes:
        name: With its article, as in "an edgephi model folder".
        marks: Files, one of which says that the command made a folder, so that it may replace it.
    """

    name: str
    marks: tuple[str, ...]


def check_output(output: Path, kind: FolderKind, *, force: bool, source: Path | None = None) -> None:
    """Refuse an output place that cannot or must not be written.

    Args:
        output: The folder to make.
        kind: What it will be.
        force: Whether an existing folder of this kind may be replaced.
        source: A folder that must stay as it is.

    Raises:
        ConfigError: It exists and `force` is not given, it is of another kind, its parent is missing or not writable,
            or it contains or equals `source`.
    """
    if output.name in {"", ".."}:
        raise ConfigError(f"{output}: names no folder of its own; give the new folder's name")
    if source is not None and source.resolve().is_relative_to(output.resolve()):
        raise ConfigError(f"{output}: the checkpoint is in there; choose another output folder")
    if os.path.lexists(output):
        if not force:
            raise ConfigError(f"{output}: already exists; choose another folder, or --force replaces it when done")
        marked = any((output / mark).is_file() for mark in kind.marks)
        if not output.is_dir() or output.is_symlink() or not marked:
            raise ConfigError(f"{output}: exists and is not {kind.name}; --force replaces only those")
    parent = output.absolute().parent
    if not os.path.isdir(parent):  # Path.is_dir raises where the name is too long
        raise ConfigError(f"{parent}: no such folder; make it first, or choose another output folder")
    if not os.access(parent, os.W_OK):
        raise ConfigError(f"{parent}: not writable; choose another output folder")


def check_space(output: Path, needed_bytes: int, *, what: str, relief: str = "choose another disk") -> None:
    """Refuse to start what would not fit; `what` needs the space, `relief` is advice besides freeing some.

    Raises:
        CapacityError: The file system of `output` has less than `needed_bytes` free.
    """
    free = shutil.disk_usage(output.absolute().parent).free
    if free < needed_bytes:
        raise CapacityError(
            f"{output}: {what} needs {human_bytes(needed_bytes, 2)}, the disk has {human_bytes(free, 2)} free; "
            f"free some space or {relief}",
            reason="disk",
        )


@contextlib.contextmanager
def writing(output: Path) -> Iterator[None]:
    """Report what the operating system refuses inside the block as an error about `output`.

    Raises:
        CapacityError: The disk filled up.
        EdgeError: Anything else.
    """
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            full = CapacityError(
                f"{output}: the disk filled up; nothing was kept. Free some space and retry", reason="disk"
            )
            raise full from error
        raise EdgeError(f"{output}: cannot be written ({error.strerror or error}); nothing was kept") from error


@contextlib.contextmanager
def staged(output: Path, kind: FolderKind, *, force: bool) -> Iterator[Path]:
    """A temporary sibling of `output` that takes its place when the block ends well and vanishes otherwise.

    An existing `output` is replaced only at that moment, and put back if the swap fails. What runs that were killed
    left beside it is removed.

    Raises:
        ConfigError: `output` appeared inside the block and must not be replaced.
        CapacityError: The disk filled up inside the block.
        EdgeError: The operating system refused something else inside the block.
    """
    output = output.absolute()
    folder = _beside(output, "partial")
    try:
        with writing(output):
            _remove_stale(output)
            folder.mkdir()
            yield folder
            check_output(output, kind, force=force)
            _swap(folder, output)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_stale(output: Path) -> None:
    """Remove the partial folders of processes that no longer exist, and one of this process."""
    pattern = re.compile(re.escape(f".{_short(output.name)}.partial-") + r"(\d{1,9})")
    for sibling in output.parent.iterdir():
        found = pattern.fullmatch(sibling.name)
        if found and (int(found[1]) == os.getpid() or not _is_alive(int(found[1]))):
            shutil.rmtree(sibling, ignore_errors=True)


def _beside(output: Path, state: str) -> Path:
    return output.with_name(f".{_short(output.name)}.{state}-{os.getpid()}")


def _short(name: str) -> str:
    """The name; cut, and made unique by its hash, where the additions would make it too long for the file system."""
    data = os.fsencode(name)
    return name if len(data) <= _MOST_NAME_BYTES else f"{name[:20]}-{hashlib.sha256(data).hexdigest()[:12]}"


def _is_alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _swap(folder: Path, output: Path) -> None:
    """Put `folder` in the place of `output`; an interruption at any point leaves one whole folder there."""
    old = _beside(output, "replaced")
    try:
        if output.exists():
            output.rename(old)
        folder.rename(output)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        if not folder.exists():
            shutil.rmtree(old, ignore_errors=True)
        elif old.exists() and not output.exists():
            old.rename(output)
