"""Encoded pictures and clips, kept by content.

Owns what makes two media the same and which encoded rows stay within a budget. Knows nothing about encoders, prompts or
the decoder.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray


class RowsCache:
    """Rows by digest, the least recently used forgotten first.

    Args:
        budget_bytes: Most memory of all rows.
    """

    def __init__(self, budget_bytes: int) -> None:
        self._budget = budget_bytes
        self._rows: OrderedDict[bytes, NDArray[np.float32]] = OrderedDict()

    @property
    def num_bytes(self) -> int:
        """Memory of all rows."""
        return sum(rows.nbytes for rows in self._rows.values())

    def get(self, digest: bytes) -> NDArray[np.float32] | None:
        """The rows, now the most recently used; None if they are not kept."""
        if digest in self._rows:
            self._rows.move_to_end(digest)
        return self._rows.get(digest)

    def put(self, digest: bytes, rows: NDArray[np.float32]) -> None:
        """Keep rows, if they fit at all."""
        self._rows[digest] = rows
        self._rows.move_to_end(digest)
        while self._rows and self.num_bytes > self._budget:
            self._rows.popitem(last=False)

    def clear(self) -> None:
        """Forget all."""
        self._rows.clear()


class LazyRows:
    """The rows of one picture or clip, encoded when they are first asked for (see embed.MediaRows).

    Args:
        num_rows: How many it becomes.
        digest: Of its content.
        encode: Gives float32 [num_rows, H].
        cache: Asked before encoding, told after.
    """

    def __init__(
        self, num_rows: int, digest: bytes, encode: Callable[[], NDArray[np.float32]], cache: RowsCache
    ) -> None:
        self.digest = digest
        self._num_rows = num_rows
        self._encode = encode
        self._cache = cache
        self._known: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return self._num_rows

    def rows(self) -> NDArray[np.float32]:
        """float32 [num_rows, H]. Raises what the encoder raises."""
        if self._known is None:
            self._known = self._cache.get(self.digest)
        if self._known is None:
            self._known = self._encode()
            self._cache.put(self.digest, self._known)
        return self._known


def media_digest(item: Any, projection: str | None) -> bytes:
    """sha256 of everything an encoder gets: equal for the same picture from a path, bytes or an array.

    Args:
        item: A dataclass of arrays, numbers and further such dataclasses.
        projection: The encoder's output layer; it changes the rows.
    """
    digest = hashlib.sha256(f"{type(item).__name__}/{projection}".encode())
    for name, value in _leaves(item, ""):
        if isinstance(value, np.ndarray):
            digest.update(f"{name} {value.dtype} {value.shape}".encode())
            digest.update(np.ascontiguousarray(value).view(np.uint8).data)
        else:
            digest.update(f"{name} {value!r}".encode())
    return digest.digest()


def _leaves(item: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for field in dataclasses.fields(item):
        value, name = getattr(item, field.name), f"{prefix}.{field.name}"
        if dataclasses.is_dataclass(value):
            yield from _leaves(value, name)
        else:
            yield name, value
