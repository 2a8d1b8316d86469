"""Shows on stderr how far an export is: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from edgephi_export.progress import OnProgress, Progress

#: Seconds between two lines where there is no terminal to draw a bar on.
_LINE_EVERY_S = 10.0


@contextmanager
def progress_display(*, quiet: bool) -> Iterator[OnProgress | None]:
    """A bar on a terminal, a line now and then elsewhere, nothing when `quiet`."""
    if quiet:
        yield None
    elif sys.stderr.isatty():
        with _bar() as on_terminal:
            yield on_terminal
    else:
        yield _lines()


def describe(step: Progress, elapsed_s: float) -> str:
    """`12/1,003 tensors, 0.42/7.67 GB in, 0.18/3.19 GB out, 140 MB/s, 52 s left`: fits a line of 80 beside a bar."""
    if step.total_prompts:
        return f"{step.stage}: prompt {step.prompts:,} of {step.total_prompts:,}"
    rate = step.read_bytes / elapsed_s if elapsed_s > 0 else 0.0
    words = [
        f"{step.tensors:,}/{step.total_tensors:,} tensors",
        f"{step.read_bytes / 1e9:.2f}/{step.total_read_bytes / 1e9:.2f} GB in",
        f"{step.written_bytes / 1e9:.2f}/{step.total_written_bytes / 1e9:.2f} GB out",
        f"{rate / 1e6:,.0f} MB/s",
    ]
    if rate:
        words.append(f"{(step.total_read_bytes - step.read_bytes) / rate:,.0f} s left")
    return ", ".join(words)


def _lines() -> OnProgress:
    """A line when a stage begins and every few seconds."""
    start: float | None = None
    shown_stage, shown_at = "", 0.0

    def show(step: Progress) -> None:
        nonlocal start, shown_stage, shown_at
        now = time.monotonic()
        start = now if start is None else start  # a download before it is not the export's time
        if step.stage != shown_stage:
            click.echo(f"writing {step.stage}", err=True)
        elif now - shown_at >= _LINE_EVERY_S:
            facts = describe(step, now - start)
            click.echo(f"writing {facts if step.total_prompts else f'{step.stage}: {facts}'}", err=True)
        else:
            return
        shown_stage, shown_at = step.stage, now

    return show


@contextmanager
def _bar() -> Iterator[Callable[[Progress], None]]:
    from rich import progress
    from rich.console import Console

    columns = (
        progress.BarColumn(bar_width=6),
        progress.TextColumn("{task.fields[facts]}"),
    )
    bar = progress.Progress(*columns, console=Console(stderr=True), transient=True)
    task = bar.add_task("", total=None, facts="")
    start: float | None = None

    def show(step: Progress) -> None:
        nonlocal start
        if start is None:  # not earlier: a download draws bars of its own, and its time is not the export's
            start = time.monotonic()
            bar.start()
        facts = describe(step, time.monotonic() - start)
        bar.update(task, completed=step.read_bytes, total=step.total_read_bytes, facts=facts)

    try:
        yield show
    finally:
        bar.stop()
