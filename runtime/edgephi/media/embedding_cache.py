"""The embeddings of images and audio, cached by content within a budget.

Threads which want the same rows encode them once.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edgephi.base.cancellation import ask, never

_POLL_S = 0.02
_ROW_ITEM_BYTES = 4  # float32


class EmbeddingCache:
    """Rows by digest, the least recently used evicted first. Safe to share between threads.

    Args:
        budget_bytes: Most memory of all rows.
    """

    def __init__(self, budget_bytes: int) -> None:
        self._budget = budget_bytes
        self._rows: OrderedDict[bytes, NDArray[np.float32]] = OrderedDict()
        self._changed = threading.Condition()
        self._in_work: set[bytes] = set()

    @property
    def num_bytes(self) -> int:
        """Memory of all rows."""
        with self._changed:
            return sum(rows.nbytes for rows in self._rows.values())

    def __contains__(self, digest: bytes) -> bool:
        with self._changed:
            return digest in self._rows

    def has_room(self, num_rows: int, row_size: int) -> bool:
        """Whether float32 [num_rows, row_size] would be kept at all."""
        return num_rows * row_size * _ROW_ITEM_BYTES <= self._budget

    def get(self, digest: bytes) -> NDArray[np.float32] | None:
        """The rows, now the most recently used; None if they are not kept."""
        with self._changed:
            if digest in self._rows:
                self._rows.move_to_end(digest)
            return self._rows.get(digest)

    def put(self, digest: bytes, rows: NDArray[np.float32]) -> None:
        """Keep rows, if they fit at all."""
        with self._changed:
            self._rows[digest] = rows
            self._rows.move_to_end(digest)
            held = sum(kept.nbytes for kept in self._rows.values())
            while held > self._budget:
                held -= self._rows.popitem(last=False)[1].nbytes

    def get_or_encode(
        self, digest: bytes, encode: Callable[[], NDArray[np.float32]], should_stop: Callable[[], bool] = never
    ) -> NDArray[np.float32]:
        """The rows, from here, from another thread that encodes them just now, or from `encode`, which are then kept.

        Args:
            digest: Of their content.
            encode: What it raises is raised here; a thread that waited for it then tries itself.
            should_stop: Asked while waiting for another thread.

        Raises:
            Stopped: `should_stop` returned True.
        """
        self._claim(digest, should_stop)
        try:
            rows = self.get(digest)
            if rows is None:
                rows = encode()
                self.put(digest, rows)
            return rows
        finally:
            with self._changed:
                self._in_work.remove(digest)
                self._changed.notify_all()

    def clear(self) -> None:
        """Clear all."""
        with self._changed:
            self._rows.clear()

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
        encode: Gives float32 [num_rows, H], and raises Stopped where it is to stop.
        cache: Looked up before encoding, filled after.
        should_stop: Asked while another thread encodes the same.
    """

    def __init__(
        self,
        num_rows: int,
        digest: bytes,
        encode: Callable[[], NDArray[np.float32]],
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

    def rows(self) -> NDArray[np.float32]:
        """float32 [num_rows, H]. Raises what the encoder raises, and Stopped."""
        if self._known is None:
            self._known = self._cache.get_or_encode(self.digest, self._encode, self._should_stop)
        return self._known
