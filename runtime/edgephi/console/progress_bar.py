"""How far a command of a host package is, on stderr: a bar on a terminal, lines elsewhere.

    with ProgressBar() as bar: write_synthetic(folder, layout, options, on_step=bar.show)

The bar is drawn by rich, which no device has: its commands use `ProgressLine`.
"""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

import click

from edgephi.base.step import Step
from edgephi.console.progress import can_erase
from edgephi.console.report import printable

if TYPE_CHECKING:
    from rich.progress import Progress

#: Seconds between two lines of one part where there is no terminal to draw a bar on.
_LINE_EVERY_S = 10.0
_BAR_COLUMNS = 6


class ProgressBar:
    """Shows steps until its `with` block ends. Where there is no terminal, each part is a line, long ones are several.

    Args:
        is_animated: Draw ten times a second. False draws only when a step is shown, and takes nothing in between: for
            measurements.
    """

    def __init__(self, *, is_animated: bool = True) -> None:
        self._is_animated = is_animated
        self._is_drawn = can_erase()
        self._bar: Progress | None = None
        self._began_s: float | None = None
        self._label, self._shown_s = "", 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, step: Step) -> None:
        """Show a step from now on. The first begins the clock: what came before may have drawn bars of its own."""
        now = time.monotonic()
        self._began_s = now if self._began_s is None else self._began_s
        if self._is_drawn:
            self._draw(step, now - self._began_s)
        elif step.label != self._label or (step.facts and now - self._shown_s >= _LINE_EVERY_S):
            facts = f": {step.facts(now - self._began_s)}" if step.facts and step.label == self._label else ""
            click.echo(printable(f"{step.label}{facts}"), err=True)
            self._label, self._shown_s = step.label, now

    def _draw(self, step: Step, elapsed_s: float) -> None:
        if self._bar is None:
            self._bar = _started_bar(is_animated=self._is_animated)
        if step.stays:
            self._bar.print(printable(step.label), markup=False, highlight=False, soft_wrap=True)
            return
        words = printable(step.facts(elapsed_s) if step.facts else step.label)
        self._bar.update(self._bar.task_ids[0], completed=step.done, total=step.total or None, words=words)
        if not self._is_animated:
            self._bar.refresh()


def _started_bar(*, is_animated: bool) -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn
    from rich.table import Column

    words = TextColumn("{task.fields[words]}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis"))
    bar = Progress(
        BarColumn(_BAR_COLUMNS), words, console=Console(stderr=True), transient=True, auto_refresh=is_animated
    )
    bar.add_task("", total=None, words="")
    bar.start()
    return bar
