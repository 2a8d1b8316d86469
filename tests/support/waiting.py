"""Waiting for what another thread does."""

from __future__ import annotations

import time
from collections.abc import Callable


def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    """Returns once the condition holds; fails the test after so many seconds without it."""
    ends_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends_s, "it did not happen in time"
        time.sleep(0.005)
