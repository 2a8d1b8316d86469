"""Bundles: a file, a pipe or a folder with the same names in the same order, read strictly and forward only.

metadata/1.root.json .. N.root.json   the whole chain
metadata/targets.json                 the signature
release.json                          the index
chunks/<sha256>                       in the order of the index; a delta leaves some out
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol

from edgephi_agent.errors import RefusedError, RequestError
from edgephi_agent.index import INDEX_NAME, MOST_CHUNK_BYTES, MOST_INDEX_BYTES, SignedIndex
from edgephi_agent.tar_entries import EntryReader
from edgephi_agent.trust import MOST_ROOT_BYTES, MOST_ROOTS, MOST_TARGETS_BYTES

TARGETS_ENTRY = "metadata/targets.json"


def root_entry(version: int) -> str:
    """The name of a root's metadata."""
    return f"metadata/{version}.root.json"


def chunk_entry(sha256: str) -> str:
    """The name of a chunk."""
    return f"chunks/{sha256}"


class Entries(Protocol):
    """Named contents in the order of a bundle."""

    def peek(self) -> tuple[str, int] | None:
        """Name and size of the next; None at the end."""

    def content(self, most_bytes: int) -> bytes:
        """The content of the one that `peek` gave."""

    def expect(self, names: Sequence[str]) -> None:
        """The names that may follow, in their order."""


@dataclass(slots=True)
class Bundle:
    """A bundle whose chunks are still to be read; nothing in it was verified.

    Attributes:
        roots: Root metadata, from version 1 on.
        targets: The signature.
        index: Bytes of `release.json`.
    """

    entries: Entries
    roots: tuple[bytes, ...] = ()
    targets: bytes = b""
    index: bytes = b""
    _order: dict[str, int] = field(default_factory=dict)
    _last: int = -1

    @classmethod
    def read(cls, entries: Entries) -> Bundle:
        """Read what decides.

        Raises:
            RefusedError: Entries are missing, too large, or in another order.
        """
        bundle = cls(entries)
        roots: list[bytes] = []
        while (entry := entries.peek()) is not None and entry[0] == root_entry(len(roots) + 1):
            if len(roots) == MOST_ROOTS:
                raise RefusedError(f"the bundle has more than {MOST_ROOTS} versions of root metadata; it is wrong")
            roots.append(entries.content(MOST_ROOT_BYTES))
        bundle.roots = tuple(roots)
        bundle.targets = _expected(entries, TARGETS_ENTRY, MOST_TARGETS_BYTES)
        bundle.index = _expected(entries, INDEX_NAME, MOST_INDEX_BYTES)
        return bundle

    def trust_order(self, index: SignedIndex) -> None:
        """Take the order of chunks from the index, once it was verified."""
        chunks = enumerate(index.release.chunks)
        self._order = {chunk_entry(name): number for number, chunk in chunks for name in chunk.carried_names}
        self.entries.expect([*self._order])

    def chunk(self, index: int) -> bytes | None:
        """See ChunkSource; chunks before it are passed over.

        Raises:
            RefusedError: An entry is none of the index, comes twice or in another order, or is too large.
        """
        while (number := self._number()) is not None and number < index:
            self._take(number)
        return self._take(index) if number == index else None

    def finish(self) -> None:
        """Pass over the rest.

        Raises:
            RefusedError: As `chunk`.
        """
        while (number := self._number()) is not None:
            self._take(number)

    def _number(self) -> int | None:
        entry = self.entries.peek()
        if entry is None:
            return None
        number = self._order.get(entry[0])
        if number is None or number <= self._last:
            raise RefusedError(f"{entry[0]}: is not the entry that the index has there; copy the bundle again")
        return number

    def _take(self, number: int) -> bytes:
        self._last = number
        return self.entries.content(MOST_CHUNK_BYTES)


def _expected(entries: Entries, name: str, most_bytes: int) -> bytes:
    entry = entries.peek()
    if entry is None or entry[0] != name:
        found = "its end" if entry is None else entry[0]
        raise RefusedError(f"the bundle has {found!r} where {name} must stand; it is no bundle, or damaged")
    return entries.content(most_bytes)


class FolderEntries:
    """A folder with the names of a bundle; links in it are refused.

    Args:
        folder: On a stick, or mounted.

    Raises:
        RefusedError: It holds something that no bundle has.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        roots = sorted(_names(folder / "metadata") - {"targets.json"}, key=_version)
        self._waiting = [f"metadata/{name}" for name in roots] + [TARGETS_ENTRY, INDEX_NAME]

    def peek(self) -> tuple[str, int] | None:
        """See Entries.

        Raises:
            RefusedError: It is no regular file.
        """
        if not self._waiting:
            return None
        return self._waiting[0], self._status(self._waiting[0]).st_size

    def content(self, most_bytes: int) -> bytes:
        """See Entries.

        Raises:
            RefusedError: It is too large, or cannot be read.
        """
        name = self._waiting.pop(0)
        if (size := self._status(name).st_size) > most_bytes:
            raise RefusedError(f"{name}: has {size:,} bytes, {most_bytes:,} are allowed; the bundle is wrong")
        try:
            descriptor = os.open(self._folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb") as stream:
                return stream.read(most_bytes)
        except OSError as error:
            raise RefusedError(f"{self._folder / name}: cannot be read ({error.strerror})") from None

    def expect(self, names: Sequence[str]) -> None:
        """Its chunks, in this order; others stand at the end."""
        found = {f"chunks/{name}" for name in _names(self._folder / "chunks")}
        self._waiting = [*(name for name in names if name in found), *sorted(found - set(names))]

    def _status(self, name: str) -> os.stat_result:
        try:
            status = os.lstat(self._folder / name)
        except OSError as error:
            raise RefusedError(f"{self._folder / name}: cannot be read ({error.strerror})") from None
        if not stat.S_ISREG(status.st_mode):
            raise RefusedError(f"{self._folder / name}: is no regular file; copy the bundle again")
        return status


def _names(folder: Path) -> set[str]:
    try:
        return set(os.listdir(folder))
    except FileNotFoundError:
        return set()


def _version(name: str) -> tuple[int, str]:
    found = re.fullmatch(r"([1-9]\d{0,3})\.root\.json", name)
    return (int(found[1]) if found else 1 << 30), name


@contextmanager
def opened(place: str, stdin: BinaryIO) -> Iterator[Bundle]:
    """A bundle by its path, `-` for stdin.

    Args:
        place: A file, a folder or `-`.
        stdin: Read for `-`.

    Raises:
        RequestError: There is no such file.
        RefusedError: It is no bundle.
    """
    path = Path(place)
    with ExitStack() as stack:
        if place == "-":
            yield Bundle.read(EntryReader(stdin))
        elif path.is_dir():
            yield Bundle.read(FolderEntries(path))
        else:
            try:
                stream = stack.enter_context(path.open("rb"))
            except OSError as error:
                raise RequestError(f"{path}: cannot be read ({error.strerror}); give a bundle, a folder or -") from None
            yield Bundle.read(EntryReader(stream))
