"""The embeddings of images and audio, cached by content within a budget.

Threads which want the same rows encode them once. Where an encoding is stopped, its finished parts (views of an image,
windows of audio) are kept within the same budget, and the next one goes on after them.
"""

from __future__ import annotations

import threading
from bisect import bisect
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgephi.base.cancellation import ask, never
from edgephi.media.encoders import Parts

#: Gives float32 [num_rows, H]. It goes on after the parts that it is given, and appends those that it finishes.
Encode: TypeAlias = Callable[[Parts], NDArray[np.float32]]
_POLL_S = 0.02
_ROW_ITEM_BYTES = 4  # float32


@dataclass(frozen=True, slots=True)
class _Entry:
    """All rows in one array, or the parts of an encoding that was stopped."""

    arrays: tuple[NDArray[np.float32], ...]
    is_complete: bool

    @property
    def num_bytes(self) -> int:
        return sum(array.nbytes for array in self.arrays)


class EmbeddingCache:
    """Rows by digest, the least recently used evicted first. Safe to share between threads.

    Args:
        budget_bytes: Most memory of all rows, and of the parts of those whose encoding was stopped.
    """

    def __init__(self, budget_bytes: int) -> None:
        self._budget = budget_bytes
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()
        self._changed = threading.Condition()
        self._in_work: set[bytes] = set()

    @property
    def num_bytes(self) -> int:
        """Memory of all rows and parts."""
        with self._changed:
            return self._held_bytes()

    def __contains__(self, digest: bytes) -> bool:
        with self._changed:
            return digest in self._entries and self._entries[digest].is_complete

    def num_parts(self, digest: bytes) -> int:
        """Parts that are kept of rows whose encoding was stopped."""
        with self._changed:
            entry = self._entries.get(digest)
            return 0 if entry is None or entry.is_complete else len(entry.arrays)

    def has_room(self, num_rows: int, row_size: int) -> bool:
        """Whether float32 [num_rows, row_size] would be kept at all."""
        return num_rows * row_size * _ROW_ITEM_BYTES <= self._budget

    def get(self, digest: bytes) -> NDArray[np.float32] | None:
        """The rows, now the most recently used; None if they are not kept."""
        with self._changed:
            entry = self._entries.get(digest)
            if entry is None or not entry.is_complete:
                return None
            self._entries.move_to_end(digest)
            return entry.arrays[0]

    def put(self, digest: bytes, rows: NDArray[np.float32]) -> None:
        """Keep rows, if they fit at all."""
        self._put(digest, _Entry((rows,), is_complete=True))

    def get_or_encode(
        self, digest: bytes, encode: Encode, should_stop: Callable[[], bool] = never
    ) -> NDArray[np.float32]:
        """The rows, from here, from another thread that encodes them just now, or from `encode`, which are then kept.

        Args:
            digest: Of their content.
            encode: What it raises is raised here, and the parts that it had finished are kept; a thread that waited
                for it then tries itself.
            should_stop: Asked while waiting for another thread.

        Raises:
            Stopped: `should_stop` returned True.
        """
        self._claim(digest, should_stop)
        try:
            rows = self.get(digest)
            return self._encoded(digest, encode) if rows is None else rows
        finally:
            with self._changed:
                self._in_work.remove(digest)
                self._changed.notify_all()

    def clear(self) -> None:
        """Clear all."""
        with self._changed:
            self._entries.clear()

    def _encoded(self, digest: bytes, encode: Encode) -> NDArray[np.float32]:
        with self._changed:
            entry = self._entries.pop(digest, None)
        parts = [] if entry is None else list(entry.arrays)
        try:
            rows = encode(parts)
        except BaseException:
            fitting = bisect(list(accumulate(part.nbytes for part in parts)), self._budget)
            if fitting:
                self._put(digest, _Entry(tuple(parts[:fitting]), is_complete=False))
            raise
        self.put(digest, rows)
        return rows

    def _put(self, digest: bytes, entry: _Entry) -> None:
        with self._changed:
            self._entries[digest] = entry
            self._entries.move_to_end(digest)
            held = self._held_bytes()
            while held > self._budget:
                held -= self._entries.popitem(last=False)[1].num_bytes

    def _held_bytes(self) -> int:
        return sum(entry.num_bytes for entry in self._entries.values())

    def _claim(self, digest: bytes, should_stop: Callable[[], bool]) -> None:
        """Wait until no other thread works on these rows, and be the one that does."""
        while not self._claimed(digest):
            ask(should_stop)  # without the lock: it is not ours what it does

    def _claimed(self, digest: bytes) -> bool:
        """Whether it is this thread's now; otherwise after a moment's wait."""
        with self._changed:
            if digest in self._in_work:
                self._changed.wait(_POLL_S)
                return False
            self._in_work.add(digest)
            return True


class LazyEmbedding:
    """The rows of one image or audio, encoded when they are first asked for (see input_sequence.MediaEmbedding).

    Args:
        num_rows: How many it becomes.
        digest: Of its content.
        encode: Gives its rows, and raises Stopped where it is to stop.
        cache: Looked up before encoding, filled after.
        should_stop: Asked while another thread encodes the same.
    """

    def __init__(
        self,
        num_rows: int,
        digest: bytes,
        encode: Encode,
        cache: EmbeddingCache,
        should_stop: Callable[[], bool] = never,
    ) -> None:
        self.digest = digest
        self._num_rows = num_rows
        self._encode = encode
        self._should_stop = should_stop
        self._cache = cache
        self._known: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return self._num_rows

    @property
    def is_known(self) -> bool:
        """Whether nothing need be encoded for them."""
        return self._known is not None or self.digest in self._cache

    @property
    def num_parts(self) -> int:
        """Parts that need not be encoded again, of an encoding that was stopped."""
        return self._cache.num_parts(self.digest)

    def rows(self) -> NDArray[np.float32]:
        """float32 [num_rows, H]. Raises what the encoder raises, and Stopped."""
        if self._known is None:
            self._known = self._cache.get_or_encode(self.digest, self._encode, self._should_stop)
        return self._known
