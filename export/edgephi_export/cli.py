"""`edgephi export`: the command line of the exporter.

Owns options, progress and the summary. Knows nothing about checkpoints or graphs.
"""

from __future__ import annotations

import dataclasses
import json
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from edgephi.cli.options import json_option
from edgephi_export.api import export as run_export
from edgephi_export.options import ExportOptions, OnProgress, Progress


def _words(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...] | None:  # noqa: ARG001
    """Words separated by commas."""
    return None if value is None else tuple(word.strip() for word in value.split(","))


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What was made; the object that --json prints."""

    path: str
    source: str
    revision: str | None
    recipe: str
    adapters: str
    modalities: tuple[str, ...]
    bytes: int
    seconds: float

    def __str__(self) -> str:
        takes = ", ".join(self.modalities)
        size = f"{self.bytes / 1e6:,.1f} MB in {self.seconds} s"
        return f"{self.path}: takes {takes}; adapters {self.adapters}; recipe {self.recipe}; {size}"


@click.command()
@click.argument("checkpoint")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="Folder to make.")
@click.option("--recipe", default="fp32", show_default=True, help="How weights are stored.")
@click.option(
    "--adapters",
    type=click.Choice(["routed", "speech", "vision", "none"]),
    help="routed: chosen per request (the default); speech, vision: merged in, for one purpose; none: text only.",
)
@click.option(
    "--modalities", callback=_words, metavar="LIST", help="text,vision,speech or fewer.  [default: all there are]"
)
@click.option("--force", is_flag=True, help="Replace an existing model folder, once the new one is complete.")
@json_option
def export(  # noqa: PLR0913, PLR0917 - click passes one argument per option
    checkpoint: str,
    output: Path,
    recipe: str,
    adapters: str | None,
    modalities: tuple[str, ...] | None,
    force: bool,
    as_json: bool,
) -> None:
    """Turn CHECKPOINT into a folder that `edgephi run` understands.

    CHECKPOINT is a local folder or a Hugging Face id: Phi-4-multimodal (original or transformers layout) or Phi-4-mini.

    \b
    Examples:
      edgephi export microsoft/Phi-4-multimodal-instruct -o phi4mm
      edgephi export ./Phi-4-multimodal-instruct -o ears --adapters speech
    """  # noqa: D301 - click reads the \b
    options = ExportOptions(recipe=recipe, adapters=adapters, modalities=modalities, force=force)
    start = time.perf_counter()
    with _stoppable(), _progress() as on_progress:
        run_export(checkpoint, output, options, on_progress)
    summary = _summary(output, time.perf_counter() - start)
    click.echo(json.dumps(dataclasses.asdict(summary)) if as_json else str(summary))


def _summary(output: Path, seconds: float) -> Summary:
    from edgephi.bundle import MANIFEST_NAME, Bundle  # noqa: PLC0415 - keeps --help fast

    manifest = Bundle(output).manifest
    return Summary(
        path=str(output),
        source=manifest.source.id,
        revision=manifest.source.revision,
        recipe=manifest.recipe.name,
        adapters=manifest.adapters.mode,
        modalities=manifest.modalities,
        bytes=sum(file.bytes for file in manifest.files) + (output / MANIFEST_NAME).stat().st_size,
        seconds=round(seconds, 2),
    )


@contextmanager
def _stoppable() -> Iterator[None]:
    """SIGTERM and SIGHUP end the block as Ctrl-C does, so that it can clean up; an ignored signal stays ignored."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield
        return
    numbers = [n for n in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) != signal.SIG_IGN]
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _progress() -> Iterator[OnProgress]:
    """A bar on a terminal, one line per stage elsewhere; both on stderr."""
    if sys.stderr.isatty():
        with _bar() as on_terminal:
            yield on_terminal
        return
    stages: list[str] = []

    def on_lines(step: Progress) -> None:
        if step.stage not in stages:
            stages.append(step.stage)
            click.echo(f"writing {step.stage}", err=True)

    yield on_lines


@contextmanager
def _bar() -> Iterator[OnProgress]:
    from rich import progress  # noqa: PLC0415 - keeps --help fast
    from rich.console import Console  # noqa: PLC0415

    columns = (
        progress.TextColumn("{task.description:>10}"),
        progress.BarColumn(),
        progress.DownloadColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading", total=None)
        yield lambda step: bar.update(task, description=step.stage, completed=step.done_bytes, total=step.total_bytes)
