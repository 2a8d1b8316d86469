"""The files of one model folder, opened once: what is read late comes from the folder that was loaded, or not at all.

A folder may be replaced while a program uses it. The handles go on naming the files that were there first, even after
they were renamed or deleted. A file that is written in place is refused: a small one by its hash, which is compared
whenever it is read, a large one by its size and time.
"""

from __future__ import annotations

import errno
import hashlib
import mmap
import os
import shutil
import stat
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from edgephi.base.errors import ArtifactError, CapacityError, ConfigError
from edgephi.base.units import human_bytes

_READ_BYTES = 1 << 20
_FLAGS = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)  # a pipe must not be waited for
_BY_FOLDER = os.open in os.supports_dir_fd


class PlainFiles:
    """Files of a folder that are opened by name each time, as a graph outside any model folder needs them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, name: str) -> bytes:
        """The whole content."""
        return (self.folder / name).read_bytes()

    def map(self, name: str) -> mmap.mmap:
        """The whole content of a file that is not empty; pages are read when touched."""
        with (self.folder / name).open("rb") as stream:
            return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)

    @contextmanager
    def names_beside(self) -> Iterator[Path]:
        """A folder with a file of every name, for what opens files itself."""
        yield self.folder


_made: set[str] = set()


class _File(NamedTuple):
    """An open file: size and time as it was opened, and the hash that it must have, None for a large file."""

    handle: int
    size: int
    time: int
    sha256: str | None


class HeldFiles(PlainFiles):
    """Files of a folder, held open. Close it; it is also closed when nothing refers to it any more.

    Args:
        folder: Its path. All files come from the one folder that is there now.

    Raises:
        OSError: It cannot be opened.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder.absolute())
        self._files: dict[str, _File] = {}
        self._lock = threading.RLock()
        self._place = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY) if _BY_FOLDER else None
        self._closing = weakref.finalize(self, _close, self._files, self._place)

    def add(self, name: str, sha256: str | None = None) -> int:
        """Open a file of the folder and keep it open.

        Args:
            name: Path relative to the folder.
            sha256: `read` compares with this; None for a file that is mapped, whose size and time must stay.

        Returns:
            Its size.

        Raises:
            OSError: It cannot be opened.
            IsADirectoryError: It is no regular file.
        """
        place = name if self._place is not None else str(self.folder / name)
        handle = os.open(place, _FLAGS, dir_fd=self._place)
        facts = os.fstat(handle)
        if not stat.S_ISREG(facts.st_mode):
            os.close(handle)
            raise IsADirectoryError(f"{name} is no regular file")
        with self._lock:
            if known := self._files.pop(name, None):
                os.close(known.handle)
            self._files[name] = _File(handle, facts.st_size, facts.st_mtime_ns, sha256)
        return facts.st_size

    def close(self) -> None:
        """Close every file. Maps stay as long as they are used."""
        with self._lock:
            self._closing()

    def read(self, name: str) -> bytes:
        """The whole content.

        Raises:
            ArtifactError: It has not the hash it should have.
            OSError: It cannot be read.
        """
        content = b"".join(self.pieces(name))
        known = self._file(name).sha256
        if known is not None and hashlib.sha256(content).hexdigest() != known:
            raise ArtifactError(f"{self.folder / name}: content differs from the manifest; copy or export it again")
        return content

    def sha256(self, name: str, on_read: Callable[[int], None] = lambda _: None) -> str:
        """Hexadecimal sha256 of a file; `on_read` is called with the size of each piece that was read."""
        digest = hashlib.sha256()
        for piece in self.pieces(name):
            digest.update(piece)
            on_read(len(piece))
        return digest.hexdigest()

    def pieces(self, name: str) -> Iterator[bytes]:
        """The content in order, some of it at a time; errors as `read`."""
        place = 0
        while piece := self.piece(name, place, _READ_BYTES):
            yield piece
            place += len(piece)

    def piece(self, name: str, offset: int, count: int) -> bytes:
        """At most `count` bytes from `offset` on; errors as `read`."""
        with self._lock:
            handle = self._unchanged(name).handle
            if hasattr(os, "pread"):
                return os.pread(handle, count, offset)
            os.lseek(handle, offset, os.SEEK_SET)
            return os.read(handle, count)

    def map(self, name: str) -> mmap.mmap:
        """One of the files that are held, which is not empty.

        Raises:
            ArtifactError: It changed since it was opened.
            CapacityError: This process may not use so many addresses.
            OSError: The system refused.
        """
        with self._lock:
            file = self._unchanged(name)
            try:
                return mmap.mmap(file.handle, 0, access=mmap.ACCESS_READ)
            except OSError as error:
                if error.errno != errno.ENOMEM:
                    raise
                raise CapacityError(
                    f"{self.folder / name}: {human_bytes(file.size)} do not fit into the addresses that this process "
                    "may use; raise its limit (ulimit -v), or export the model with a smaller recipe"
                ) from error

    def map_part(self, name: str, offset: int, count: int) -> memoryview:
        """Some bytes of a file, mapped; pages are read when touched.

        Raises:
            ArtifactError: It changed since it was opened.
            OSError: It cannot be mapped.
            ValueError: The bytes are not inside it.
        """
        start = offset - offset % mmap.ALLOCATIONGRANULARITY
        with self._lock:
            handle = self._unchanged(name).handle
            mapped = mmap.mmap(handle, offset - start + count, access=mmap.ACCESS_READ, offset=start)
        return memoryview(mapped)[offset - start :]

    def check_unchanged(self) -> None:
        """Refuse to go on with mapped files that were written in place: parts of them are in use.

        Raises:
            ArtifactError: One has another size or time than when it was opened.
        """
        with self._lock:
            self._check_open()
            for name in self._files:
                self._unchanged(name)

    @property
    def are_in_place(self) -> bool:
        """Whether every path still leads to the file that is held."""
        with suppress(OSError), self._lock:
            return all(os.path.samestat(os.stat(self.folder / n), os.fstat(f.handle)) for n, f in self._files.items())
        return False

    @contextmanager
    def names_beside(self) -> Iterator[Path]:
        """A folder with a file of every held name: this one, or where it was replaced one with empty files.

        Raises:
            ArtifactError: It was replaced inside the block: what was read by name may be of either.
        """
        if self.are_in_place:
            yield self.folder
            if not self.are_in_place:
                raise ArtifactError(f"{self.folder}: was replaced at this moment; ask again, or load the new one")
            return
        with tempfile.TemporaryDirectory(prefix="edgephi-") as made:
            _made.add(made)
            for name in self._files:
                (Path(made) / name).parent.mkdir(parents=True, exist_ok=True)
                (Path(made) / name).touch()
            yield Path(made)
        _made.discard(made)

    def _check_open(self) -> None:
        if not self._closing.alive:
            raise ConfigError("this model is closed; load it again")

    def _file(self, name: str) -> _File:
        self._check_open()
        return self._files[name]

    def _unchanged(self, name: str) -> _File:
        file = self._file(name)
        now = os.fstat(file.handle)
        if file.sha256 is None and (now.st_size, now.st_mtime_ns) != (file.size, file.time):
            raise ArtifactError(
                f"{self.folder / name}: was written to while this model was loaded; load it again, and replace a "
                "model folder by renaming a new one into its place"
            )
        return file


def remove_made_folders() -> None:
    """Remove what `names_beside` made, for a process that ends while another thread uses it."""
    for made in tuple(_made):
        shutil.rmtree(made, ignore_errors=True)


def _close(files: dict[str, _File], place: int | None) -> None:
    for file in files.values():
        os.close(file.handle)
    files.clear()
    if place is not None:
        os.close(place)
