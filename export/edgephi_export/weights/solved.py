"""Tensors whose stored form was found before anything is written, such as by a walk through the layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import Lock

from edgephi_export.weights.encode import StoredRows

#: `layers.N.`: the group that a name belongs to.
_GROUP_PARTS = 2


class SolvedTensors:
    """Gives rows of them. One group is held at a time: tensors are written in the order of the layers.

    Args:
        names: All of them.
        read: Gives the tensors of a group, such as `layers.3`, by name.
    """

    def __init__(self, names: frozenset[str], read: Callable[[str], Mapping[str, StoredRows]]) -> None:
        self._names, self._read = names, read
        self._group, self._held = "", dict[str, StoredRows]()
        self._lock = Lock()

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def rows(self, name: str, start: int, stop: int) -> StoredRows:
        """The stored rows from `start` up to `stop` of a tensor."""
        with self._lock:
            group = ".".join(name.split(".")[:_GROUP_PARTS])
            if group != self._group:
                self._group, self._held = group, dict(self._read(group))
            stored = self._held[name]
        return stored.rows(start, stop)
