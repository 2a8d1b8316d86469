"""A disk that loses what was not synced when the power goes: names and pages as any subset of what was changed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

PAGE_BYTES = 512
Survival = Literal["none", "all", "some"]


class PowerLossError(BaseException):
    """The power went; no handler of an Exception may go on."""


@dataclass(eq=False)
class Node:
    """A file, folder or link: as programs see it, and as it is on the disk."""

    kind: Literal["file", "folder", "link"]
    target: str = ""
    content: bytearray = field(default_factory=bytearray)
    disk_content: bytearray = field(default_factory=bytearray)
    dirty_pages: set[int] = field(default_factory=set)
    names: dict[str, Node] = field(default_factory=dict)
    disk_names: dict[str, Node] = field(default_factory=dict)

    def sync(self) -> None:
        """What programs see of a file is on the disk."""
        self.disk_content = bytearray(self.content)
        self.dirty_pages.clear()


_Change = tuple[Node, str, Node | None]


class SimulatedDisk:
    """The operations of the agent's disk, in memory.

    Attributes:
        num_operations: Changes and barriers so far.
        barriers: The numbers of those that were barriers.
        crash_at: The power goes before the operation after so many.
        skipped_barrier: This one does nothing.
    """

    def __init__(self) -> None:
        self._root = Node("folder")
        self._pending: list[tuple[_Change, ...]] = []
        self.num_operations = 0
        self.barriers: list[int] = []
        self.crash_at: int | None = None
        self.skipped_barrier: int | None = None

    def make_folder(self, path: str) -> None:
        self._count()
        if self._node(path) is None:
            self._name(path, Node("folder"))

    def create(self, path: str, content: bytes) -> None:
        self._count()
        node = Node("file")
        self._name(path, node)
        self._write(node, 0, content)

    def allocate(self, path: str, num_bytes: int) -> None:
        self._count()
        node = self._node(path)
        if node is None:
            node = Node("file")
            self._name(path, node)
        node.content.extend(bytes(max(0, num_bytes - len(node.content))))

    def write(self, path: str, offset: int, data: bytes) -> None:
        self._count()
        self._write(self._existing(path), offset, data)

    def set_mode(self, path: str, mode: int) -> None:
        self._count()
        assert self._node(path) is not None

    def sync_file(self, path: str) -> None:
        if self._barrier():
            self._existing(path).sync()

    def sync_folder(self, path: str) -> None:
        if self._barrier():
            folder = self._existing(path)
            done = [changes for changes in self._pending if any(one[0] is folder for one in changes)]
            self._pending = [changes for changes in self._pending if changes not in done]
            for changes in done:
                _apply(changes)

    def sync_all(self) -> None:
        if self._barrier():
            for changes in self._pending:
                _apply(changes)
            self._pending = []
            for node in _below(self._root):
                node.sync()

    def rename(self, source: str, target: str) -> None:
        self._count()
        (old, old_name), (new, new_name) = self._place(source), self._place(target)
        self._change((old, old_name, None), (new, new_name, old.names[old_name]))

    def link(self, source: str, target: str) -> None:
        self._count()
        if self._node(target) is None:
            self._name(target, self._existing(source))

    def symlink(self, target: str, path: str) -> None:
        self._count()
        self._name(path, Node("link", target))

    def unlink(self, path: str) -> None:
        self._count()
        self._existing(path)
        self._name(path, None)

    def remove_folder(self, path: str) -> None:
        self._count()
        assert not self._existing(path).names
        self._name(path, None)

    def read_link(self, path: str) -> str | None:
        node = self._node(path)
        return node.target if node is not None and node.kind == "link" else None

    def read(self, path: str, offset: int = 0, num_bytes: int | None = None) -> bytes | None:
        node = self._node(path)
        if node is None:
            return None
        return bytes(node.content[offset:] if num_bytes is None else node.content[offset : offset + num_bytes])

    def size(self, path: str) -> int | None:
        node = self._node(path)
        return None if node is None else len(node.content)

    def num_links(self, path: str) -> int:
        wanted = self._existing(path)
        folders = [self._root, *(node for node in _below(self._root) if node.kind == "folder")]
        return sum(node is wanted for folder in folders for node in folder.names.values())

    def exists(self, path: str) -> bool:
        return self._node(path) is not None

    def is_folder(self, path: str) -> bool:
        node = self._node(path)
        return node is not None and node.kind == "folder"

    def names(self, path: str) -> list[str]:
        node = self._node(path)
        return [] if node is None else sorted(node.names)

    def free_bytes(self) -> int:
        return 1 << 40

    def lose_power(self, survival: Survival, seed: int) -> None:
        """Leave only what is on the disk, and so much of what was not synced."""
        rng = random.Random(seed)

        def survives() -> bool:
            return survival == "all" or (survival == "some" and rng.random() < 0.5)

        for changes in self._pending:
            if survives():
                _apply(changes)
        self._pending = []
        for node in [self._root, *_below(self._root, on_disk=True)]:
            node.names = dict(node.disk_names)
            if node.kind == "file":
                _lose(node, survives)
        self.crash_at = None

    def _count(self) -> None:
        self.num_operations += 1
        if self.crash_at is not None and self.num_operations > self.crash_at:
            raise PowerLossError

    def _barrier(self) -> bool:
        self._count()
        self.barriers.append(self.num_operations)
        return self.skipped_barrier != len(self.barriers) - 1

    def _node(self, path: str) -> Node | None:
        node: Node | None = self._root
        for part in filter(None, path.split("/")):
            node = node.names.get(part) if node is not None else None
        return node

    def _existing(self, path: str) -> Node:
        node = self._node(path)
        if node is None:
            raise FileNotFoundError(path)
        return node

    def _place(self, path: str) -> tuple[Node, str]:
        folder, _, name = path.rpartition("/")
        return self._existing(folder), name

    def _name(self, path: str, node: Node | None) -> None:
        folder, name = self._place(path)
        self._change((folder, name, node))

    def _change(self, *changes: _Change) -> None:
        for folder, name, node in changes:
            if node is None:
                folder.names.pop(name, None)
            else:
                folder.names[name] = node
        self._pending.append(changes)

    @staticmethod
    def _write(node: Node, offset: int, data: bytes) -> None:
        node.content.extend(bytes(max(0, offset + len(data) - len(node.content))))
        node.content[offset : offset + len(data)] = data
        node.dirty_pages.update(range(offset // PAGE_BYTES, (offset + max(len(data), 1) - 1) // PAGE_BYTES + 1))


def _apply(changes: tuple[_Change, ...]) -> None:
    for folder, name, node in changes:
        if node is None:
            folder.disk_names.pop(name, None)
        else:
            folder.disk_names[name] = node


def _below(folder: Node, *, on_disk: bool = False) -> Iterator[Node]:
    """Every node below, once."""
    seen: set[int] = set()
    waiting = [folder]
    while waiting:
        node = waiting.pop()
        for child in (node.disk_names if on_disk else node.names).values():
            if id(child) not in seen:
                seen.add(id(child))
                waiting.append(child)
                yield child


def _lose(node: Node, survives) -> None:  # type: ignore[no-untyped-def]
    """A file after the power went: its size and each page old or new."""
    kept = bytearray(node.disk_content)
    if len(node.content) > len(kept) and survives():
        kept.extend(bytes(len(node.content) - len(kept)))
    for page in sorted(node.dirty_pages):
        start, stop = page * PAGE_BYTES, min((page + 1) * PAGE_BYTES, len(node.content), len(kept))
        if survives() and start < stop:
            kept[start:stop] = node.content[start:stop]
    node.content, node.disk_content = kept, bytearray(kept)
    node.dirty_pages.clear()
