"""Shows on stderr how far an export is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from edgephi.base.step import Step
from edgephi.base.units import rate_and_time_left
from edgephi.console.progress_bar import ProgressBar
from edgephi_export.progress import OnProgress, Progress


@contextmanager
def progress_display(*, quiet: bool) -> Iterator[OnProgress | None]:
    """A bar on a terminal, a line now and then elsewhere, nothing when `quiet`."""
    if quiet:
        yield None
        return
    with ProgressBar() as bar:
        yield lambda progress: bar.show(_step(progress))


def describe(progress: Progress, elapsed_s: float) -> str:
    """`12/1,003 tensors, 0.42/7.67 GB in, 0.18/3.19 GB out, 140 MB/s, 52 s left`: fits a line of 80 beside a bar."""
    if progress.total_prompts:
        return f"{progress.stage}: prompt {progress.prompts:,} of {progress.total_prompts:,}"
    if progress.total_layers:
        return f"{progress.stage}: layer {progress.layers:,} of {progress.total_layers:,}"
    if progress.total_groups:
        return f"{progress.stage}: group {progress.groups:,} of {progress.total_groups:,}"
    return (
        f"{progress.tensors:,}/{progress.total_tensors:,} tensors, "
        f"{progress.read_bytes / 1e9:.2f}/{progress.total_read_bytes / 1e9:.2f} GB in, "
        f"{progress.written_bytes / 1e9:.2f}/{progress.total_written_bytes / 1e9:.2f} GB out, "
        f"{rate_and_time_left(progress.read_bytes, progress.total_read_bytes, elapsed_s)}"
    )


def _step(progress: Progress) -> Step:
    return Step(
        label=f"writing {progress.stage}",
        done=progress.read_bytes,
        total=progress.total_read_bytes,
        facts=partial(describe, progress),
    )
