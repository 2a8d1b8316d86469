"""How far a run is, on stderr: a line that changes on a terminal, elsewhere one every half minute."""

from __future__ import annotations

import time

from edgephi.console.ending import say
from edgephi.console.progress import ProgressLine, can_erase
from edgephi_batch.batch_run import BatchProgress

_LINE_EVERY_S = 30.0


class RunProgress:
    """Shows the state of a run on a line that is drawn by `line`."""

    def __init__(self, line: ProgressLine) -> None:
        self._line = line
        self._said_s = time.monotonic()

    def show(self, progress: BatchProgress) -> None:
        """Show it from now on."""
        text = described(progress)
        self._line.show(text)
        if not can_erase() and time.monotonic() - self._said_s >= _LINE_EVERY_S:
            say(text)
            self._said_s = time.monotonic()


def described(progress: BatchProgress) -> str:
    """`120/500 items · 2 failed · 4.1 items/s · 93 s left`."""
    parts = [f"{progress.done:,}/{progress.total:,} items"]
    if progress.failed:
        parts.append(f"{progress.failed:,} failed")
    if progress.new and progress.elapsed_s:
        rate = progress.new / progress.elapsed_s
        parts.append(f"{rate:,.2g} items/s" if rate < 10 else f"{rate:,.0f} items/s")
        if left := progress.total - progress.done:
            parts.append(f"{left / rate:,.0f} s left")
    return " · ".join(parts)
