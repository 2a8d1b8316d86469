"""The threads in which requests are worked on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue

_BUSY, _SPARE = "edgephi-request", "edgephi-spare"


class Workers:
    """Runs each work at once in a thread.

    One thread whose work has ended is kept for the next work: starting one takes a good part of what a short request
    costs beside the model, and the event loop stands still meanwhile.
    """

    def __init__(self) -> None:
        self._given: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._lock = threading.Lock()
        self._has_spare = False

    def run(self, work: Callable[[], None]) -> None:
        """Begin a work, which raises nothing, and return."""
        with self._lock:
            is_taken, self._has_spare = self._has_spare, False
        self._given.put(work)
        if not is_taken:
            threading.Thread(target=self._serve, name=_SPARE, daemon=True).start()

    def _serve(self) -> None:
        thread = threading.current_thread()
        while True:
            work = self._given.get()
            thread.name = _BUSY
            work()
            del work  # else the request's media would wait for the next one
            with self._lock:
                if self._has_spare:
                    return
                self._has_spare = True
            thread.name = _SPARE
