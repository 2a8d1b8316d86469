"""An item in a worker: its row, whatever happens, within the time it may take."""

from __future__ import annotations

import faulthandler
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Generic

from edgephi.base.errors import EdgeError
from edgephi_batch.row import Row
from edgephi_batch.work.work import T, Work

#: How often an item may end its worker before it is given up.
MOST_ATTEMPTS = 2
#: A forward pass or a decoder in C looks at the time only when it is done; beyond this it is stuck.
GRACE_S = 30.0
_NO_MEMORY = "the worker has not enough memory for it; use fewer --actors, or a shorter input"


def ended_worker(item_s: float) -> str:
    """The error of an item that ended its worker as often as it may."""
    return (
        f"ended its worker {MOST_ATTEMPTS} times: a crash, no memory, or {GRACE_S:g} s more than the {item_s:g} s it "
        "may take; look at it by itself"
    )


class ItemRunner(Generic[T]):
    """Does the items of one worker.

    Args:
        work: Opened at once.
        item_s: Most seconds for each. The worker ends where an item does not stop some time after.

    Raises:
        EdgeError: The work cannot be opened.
    """

    def __init__(self, work: Work[T], item_s: float) -> None:
        self._work, self._item_s = work, item_s
        self._do = work.open()

    def run(self, item: T) -> Row:
        """The item's row, one with an error where it has no result."""
        began_s, is_late = time.monotonic(), False

        def should_stop() -> bool:
            nonlocal is_late
            is_late = is_late or time.monotonic() - began_s > self._item_s
            return is_late

        error: str | None = None
        try:
            with _ended_after(self._item_s + GRACE_S):
                row = self._do(item, should_stop)
        except EdgeError as raised:
            error = str(raised)
        except MemoryError:
            error = _NO_MEMORY
        except Exception as raised:  # one bad file must not stop the corpus
            error = f"{type(raised).__name__}: {raised}"
        if is_late:
            error = f"took more than {self._item_s:g} s; raise --item-s"
        return row if error is None else self._work.failed(item, error, time.monotonic() - began_s)


@contextmanager
def _ended_after(seconds: float) -> Iterator[None]:
    """End this process if the block takes longer, whatever it is stuck in: the timer needs no Python to run."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        faulthandler.dump_traceback_later(seconds, exit=True, file=nowhere)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
