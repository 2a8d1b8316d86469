"""A file that the user named as an output: checked before the work, then written whole or not at all.

a regular file, or none yet   written beside it and renamed, with the mode, owner and attributes of the old one
a symbolic link               stays a link; what it points to is replaced
a hard link                   only this name gets the new content, so that a linked backup keeps the old one
a device or a named pipe      written through, as is a descriptor of this process such as /dev/stdout
a folder without permission   an existing file in it that may be written is written over in its place
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from edgephi.base.atomic_write import check_space
from edgephi.base.errors import ConfigError
from edgephi.base.file_kind import media_kind

_MOST_LINKS = 40
_TEXT_HEAD_BYTES = 8192
#: What `os.replace` says of a mounted file, and of somebody else's in a folder with the sticky bit.
_NOT_REPLACEABLE = (errno.EBUSY, errno.EXDEV, errno.EPERM, errno.EACCES)
_KEPT_ATTRIBUTES = ("user.", "system.posix_acl_access")
_NO_OUTPUT = {
    stat.S_IFDIR: "a folder; give the name of a file in it",
    stat.S_IFBLK: "a disk; give the name of a file",
    stat.S_IFSOCK: "a socket; give the name of a file",
}
_unfinished: set[Path] = set()


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a name leads: to a file to replace (`target`), to an open descriptor, or through a special file."""

    path: Path
    target: Path | None
    descriptor: int | None = None

    @classmethod
    def of(cls, path: Path) -> _Place:
        """Raises OSError for what cannot be looked up, such as links in a circle."""
        if (number := _own_descriptor(path)) is not None:
            return cls(path, None, number)
        with suppress(FileNotFoundError):
            if not stat.S_ISREG(os.stat(path).st_mode):
                return cls(path, None)
        target = os.path.realpath(path)
        is_open_elsewhere = re.fullmatch(r"/proc/\d+/(task/\d+/)?fd", os.path.realpath(path.parent))
        return cls(path, None if is_open_elsewhere else Path(target))

    def open(self) -> BinaryIO:
        """A stream into what is no file to replace."""
        return os.fdopen(os.dup(self.descriptor), "wb") if self.descriptor is not None else self.path.open("wb")


def _own_descriptor(path: Path) -> int | None:
    """The descriptor that a name such as /dev/stdout, /dev/fd/3 or /proc/self/fd/3 stands for, through links too."""
    place = os.path.abspath(path)
    for _ in range(_MOST_LINKS):
        folder, name = os.path.split(place)
        folder = os.path.realpath(folder)
        if name.isdecimal() and re.fullmatch(rf"/proc/{os.getpid()}/(task/\d+/)?fd", folder):
            return int(name)
        place = os.path.join(folder, name)
        if not os.path.islink(place):
            return None
        place = os.path.join(folder, os.readlink(place))
    return None


def check_output_file(path: Path, *, needed_bytes: int = 1 << 20) -> None:
    """Refuse an output that could not be written, as far as that can be known; nothing is left behind.

    Args:
        path: The name as the user gave it.
        needed_bytes: Free space it takes at least.

    Raises:
        ConfigError: A folder, disk or socket, a read-only file, a missing or read-only folder, a name too long.
        CapacityError: The file system has less than `needed_bytes` free.
    """
    try:
        place = _Place.of(path)
        if place.descriptor is not None:
            if fcntl.fcntl(place.descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
                raise ConfigError(f"{path}: is open for reading only; choose another output")
        elif place.target is None:
            _check_special(path)
        else:
            _check_replaceable(path, place.target)
            check_space(place.target, needed_bytes, what="the output")
    except (OSError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{path}: cannot be written ({reason(error)}); choose another output") from None


def _check_special(path: Path) -> None:
    refusal = _NO_OUTPUT.get(stat.S_IFMT(os.stat(path).st_mode))
    if refusal:
        raise ConfigError(f"{path}: is {refusal}")
    if not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _check_replaceable(path: Path, target: Path) -> None:
    if not os.path.isdir(target.parent):
        raise ConfigError(f"{path}: cannot be written, its folder does not exist; make it first")
    exists = os.path.lexists(target)
    if exists and not os.access(target, os.W_OK):
        raise ConfigError(f"{path}: is read-only; make it writable, or choose another output")
    if not exists or may_stage(target):
        ignores_case(target.parent)


def ignores_case(folder: Path) -> bool:
    """Whether `A` and `a` are one name in there, found by making a file for a moment.

    Raises:
        OSError: None can be made. Permissions alone do not decide: quotas, immutable folders, network file systems.
    """
    with _removed(sibling(folder / "a")) as probe:
        probe.open("xb").close()
        return probe.with_name(probe.name.upper()).exists()


def check_text_output(path: Path) -> None:
    """Refuse to replace what is no text: a recording or an image must not be lost to a slip of the shell.

    Raises:
        ConfigError: The file exists and begins like media or holds binary data.
    """
    head = b""
    with suppress(OSError, ValueError):
        place = _Place.of(path)
        if place.target is not None and place.target.is_file():
            with place.target.open("rb") as stream:
                head = stream.read(_TEXT_HEAD_BYTES)
    kind = media_kind(head) or ("no text file" if b"\0" in head else None)
    if kind is not None:
        raise ConfigError(f"{path}: exists and is {kind}, so it is not replaced; choose another output")


def is_special(path: Path) -> bool:
    """Whether a name stands for a device, a pipe or an open descriptor: something that is written through.

    Raises:
        OSError: It cannot be looked up.
    """
    place = _Place.of(path)
    return place.target is None and not path.is_dir()


def real_path(path: Path) -> Path:
    """The file itself, all links followed; another name of the same file gives the same."""
    return _Place.of(path).target or path.absolute()


def sibling(target: Path) -> Path:
    """A name beside `target` that nothing has yet, short enough for every file system."""
    return target.parent / f".{target.name[:25]}.partial-{secrets.token_hex(4)}"


@contextmanager
def staged_file(path: Path) -> Iterator[BinaryIO]:
    """A stream whose content takes the place of `path` when the block ends well and vanishes otherwise.

    What is no regular file is written through as the content comes.

    Raises:
        OSError: The operating system refused; a regular file is as it was.
    """
    place = _Place.of(path)
    if place.target is None:
        with place.open() as stream:
            yield stream
    elif os.path.lexists(place.target) and not may_stage(place.target):
        with tempfile.TemporaryFile() as stream:
            yield stream
            stream.seek(0)
            with place.target.open("wb") as old:
                shutil.copyfileobj(stream, old)
    else:
        with _replacing(place.target) as stream:
            yield stream


@contextmanager
def _replacing(target: Path) -> Iterator[BinaryIO]:
    with _removed(sibling(target)) as partial:
        with partial.open("xb") as stream:
            make_alike(stream.fileno(), target)
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        _put(partial, target)


@contextmanager
def _removed(path: Path) -> Iterator[Path]:
    """A file that is gone after the block; if an interruption comes in between, `remove_unfinished` removes it."""
    _unfinished.add(path)
    try:
        yield path
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)
        _unfinished.discard(path)


def _put(partial: Path, target: Path) -> None:
    try:
        os.replace(partial, target)
    except OSError as error:
        if error.errno not in _NOT_REPLACEABLE or not target.is_file():
            raise
        with partial.open("rb") as new, target.open("wb") as old:
            shutil.copyfileobj(new, old)


def remove_unfinished() -> None:
    """Remove what an interruption in the midst of `staged_file`'s own clean-up may have left."""
    for partial in tuple(_unfinished):
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        _unfinished.discard(partial)


def make_alike(descriptor: int, target: Path) -> None:
    """Give a new file the owner, mode and attributes of an existing one, as far as this user may."""
    try:
        old = os.stat(target)
    except FileNotFoundError:
        return
    try:
        os.fchown(descriptor, old.st_uid, old.st_gid)
    except OSError:
        with suppress(OSError):
            os.fchown(descriptor, -1, old.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(old.st_mode) & 0o777)
    with suppress(OSError):
        for name in os.listxattr(target):
            if name.startswith(_KEPT_ATTRIBUTES):
                os.setxattr(descriptor, name, os.getxattr(target, name))


def reason(error: Exception) -> str:
    """Why the operating system refused, in its words."""
    return str(getattr(error, "strerror", None) or error)


def may_stage(target: Path) -> bool:
    """Whether files can be made beside `target`, as far as permissions say."""
    return os.access(target.parent, os.W_OK | os.X_OK)
