"""Every operation on files that the agent's promises rest on. All paths are relative to the agent's folder.

Nothing but `sync_file`, `sync_folder` and `sync_all` may be relied on to be on the disk after a power cut.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from edgephi_agent.errors import AgentError, BusyError

_WAIT_STEP_S = 0.05


class DiskOperations(Protocol):
    """What the agent needs of a file system; names that are missing read as None, empty or False."""

    def make_folder(self, path: str) -> None:
        """Make a folder; one that exists stays."""

    def create(self, path: str, content: bytes) -> None:
        """A new file in the place of any old one, read-only."""

    def allocate(self, path: str, num_bytes: int) -> None:
        """Make a file, or extend it, so that writing so many bytes cannot fill the disk."""

    def write(self, path: str, offset: int, data: bytes) -> None:
        """Write into a file that was allocated."""

    def set_mode(self, path: str, mode: int) -> None:
        """Set the permissions of a file."""

    def sync_file(self, path: str) -> None:
        """A barrier: the content of a file is on the disk."""

    def sync_folder(self, path: str) -> None:
        """A barrier: the names in a folder are on the disk."""

    def sync_all(self) -> None:
        """A barrier: everything is on the disk."""

    def rename(self, source: str, target: str) -> None:
        """Rename; a file takes the place of an old one at once."""

    def link(self, source: str, target: str) -> None:
        """A hard link; one that exists stays."""

    def symlink(self, target: str, path: str) -> None:
        """A symbolic link in the place of any old one."""

    def unlink(self, path: str) -> None:
        """Remove a file."""

    def remove_folder(self, path: str) -> None:
        """Remove an empty folder."""

    def read_link(self, path: str) -> str | None:
        """The target of a symbolic link."""

    def read(self, path: str, offset: int = 0, num_bytes: int | None = None) -> bytes | None:
        """The bytes of a file, as far as there are any."""

    def size(self, path: str) -> int | None:
        """Of a file."""

    def num_links(self, path: str) -> int:
        """Names of a file."""

    def exists(self, path: str) -> bool:
        """Whether there is such a name."""

    def is_folder(self, path: str) -> bool:
        """Whether it is a folder."""

    def names(self, path: str) -> list[str]:
        """Names in a folder, sorted."""

    def free_bytes(self) -> int:
        """Space that is left."""


class Disk:
    """The operations on a real file system.

    Args:
        root: The agent's folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()  # programs of releases are started in other folders
        self._libc = ctypes.CDLL(None, use_errno=True)

    def path(self, path: str) -> Path:
        """The absolute path."""
        return self.root / path if path else self.root

    @contextmanager
    def locked(self, patience_s: float = 0) -> Iterator[None]:
        """No other agent changes this folder inside the block.

        Args:
            patience_s: Wait so long for another one to end.

        Raises:
            BusyError: Another one is at work.
        """
        ends_s = time.monotonic() + patience_s
        descriptor = os.open(self.path("lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            while not _is_locked(descriptor):
                if time.monotonic() >= ends_s:
                    raise BusyError(f"{self.root}: another edgephi-agent is at work; wait until it has ended")
                time.sleep(_WAIT_STEP_S)
            yield
        finally:
            os.close(descriptor)

    def make_folder(self, path: str) -> None:
        """See DiskOperations, also of what follows."""
        self.path(path).mkdir(exist_ok=True)

    def create(self, path: str, content: bytes) -> None:  # noqa: D102
        place = self.path(path)
        place.unlink(missing_ok=True)
        descriptor = os.open(place, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o444)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)

    def allocate(self, path: str, num_bytes: int) -> None:  # noqa: D102
        descriptor = os.open(self.path(path), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            if num_bytes:
                os.posix_fallocate(descriptor, 0, num_bytes)
        finally:
            os.close(descriptor)

    def write(self, path: str, offset: int, data: bytes) -> None:  # noqa: D102
        with self.path(path).open("r+b", buffering=0) as stream:
            view = memoryview(data)
            while view:
                written = os.pwrite(stream.fileno(), view, offset)
                view, offset = view[written:], offset + written

    def set_mode(self, path: str, mode: int) -> None:  # noqa: D102
        self.path(path).chmod(mode)

    def sync_file(self, path: str) -> None:  # noqa: D102
        descriptor = os.open(self.path(path), os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def sync_folder(self, path: str) -> None:  # noqa: D102
        self.sync_file(path)

    def sync_all(self) -> None:
        """As DiskOperations.

        Raises:
            AgentError: The file system refuses.
        """
        descriptor = os.open(self.root, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if self._libc.syncfs(descriptor) != 0:
                raise AgentError(f"{self.root}: cannot be synced ({os.strerror(ctypes.get_errno())}); check the disk")
        finally:
            os.close(descriptor)

    def rename(self, source: str, target: str) -> None:  # noqa: D102
        self.path(source).rename(self.path(target))

    def link(self, source: str, target: str) -> None:  # noqa: D102
        if not self.exists(target):
            os.link(self.path(source), self.path(target))

    def symlink(self, target: str, path: str) -> None:  # noqa: D102
        self.path(path).unlink(missing_ok=True)
        self.path(path).symlink_to(target)

    def unlink(self, path: str) -> None:  # noqa: D102
        self.path(path).unlink()

    def remove_folder(self, path: str) -> None:  # noqa: D102
        self.path(path).rmdir()

    def read_link(self, path: str) -> str | None:  # noqa: D102
        try:
            return os.readlink(self.path(path))
        except OSError:
            return None

    def read(self, path: str, offset: int = 0, num_bytes: int | None = None) -> bytes | None:  # noqa: D102
        try:
            with self.path(path).open("rb") as stream:
                stream.seek(offset)
                return stream.read(-1 if num_bytes is None else num_bytes)
        except FileNotFoundError:
            return None

    def size(self, path: str) -> int | None:  # noqa: D102
        try:
            return self.path(path).stat().st_size
        except FileNotFoundError:
            return None

    def num_links(self, path: str) -> int:  # noqa: D102
        return self.path(path).stat().st_nlink

    def exists(self, path: str) -> bool:  # noqa: D102
        return os.path.lexists(self.path(path))

    def is_folder(self, path: str) -> bool:  # noqa: D102
        try:
            return stat.S_ISDIR(os.lstat(self.path(path)).st_mode)
        except FileNotFoundError:
            return False

    def names(self, path: str) -> list[str]:  # noqa: D102
        try:
            return sorted(os.listdir(self.path(path)))
        except FileNotFoundError:
            return []

    def free_bytes(self) -> int:  # noqa: D102
        return shutil.disk_usage(self.root).free


def _is_locked(descriptor: int) -> bool:
    """Lock a file, unless another process has."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
