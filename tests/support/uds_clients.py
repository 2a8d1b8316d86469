"""Clients that ask a server on a Unix socket again and again, each time on a new connection."""

from __future__ import annotations

import threading
import time
from collections import Counter
from pathlib import Path
from typing import Self

import httpx

_ASKED = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}
_NUM_CLIENTS = 4


def ask(socket: Path, timeout_s: float = 120) -> str:
    """The status of one answer, or the error in its place."""
    try:
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(socket)), timeout=timeout_s) as client:
            return str(client.post("http://edge/v1/chat/completions", json=_ASKED).status_code)
    except httpx.HTTPError as error:
        return repr(error)


class Clients:
    """Clients that ask until so many requests were answered in all, or the block that has them ends.

    Args:
        socket: Of the server.
        num_requests: In all.
    """

    def __init__(self, socket: Path, num_requests: int) -> None:
        self.answers: Counter[str] = Counter()
        self.longest_s = 0.0
        self._socket, self._left = socket, num_requests
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._ask) for _ in range(_NUM_CLIENTS)]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def num_left(self) -> int:
        """Requests that were not begun."""
        return self._left

    def wait_for(self, num_left: int) -> None:
        """Until no more are left than these."""
        while self._left > num_left:
            time.sleep(0.02)

    def finish(self) -> Counter[str]:
        """How often each status was the answer, once all are there."""
        for thread in self._threads:
            thread.join(600)
        return self.answers

    def stop(self) -> Counter[str]:
        """The same of the requests that were begun until now."""
        with self._lock:
            self._left = 0
        return self.finish()

    def _ask(self) -> None:
        while True:
            with self._lock:
                if not self._left:
                    return
                self._left -= 1
            began_s = time.monotonic()
            answer = ask(self._socket)
            with self._lock:
                self.answers[answer] += 1
                self.longest_s = max(self.longest_s, time.monotonic() - began_s)
