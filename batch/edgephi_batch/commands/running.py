"""One `edgephi batch` command: everything that can be refused first, then the run, then what came of it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import click

from edgephi.console import interruption
from edgephi.console.ending import say
from edgephi.console.failures import end_unsuccessful
from edgephi.console.options import ModelSource
from edgephi.console.progress import ProgressLine
from edgephi.console.report import one_line
from edgephi_batch.commands.options import BatchOptions
from edgephi_batch.commands.progress import RunProgress, described

if TYPE_CHECKING:
    from edgephi.bundle.bundle import Bundle
    from edgephi_batch.batch_run import BatchProgress
    from edgephi_batch.engines.plan import WorkerPlan
    from edgephi_batch.items import Item
    from edgephi_batch.result_folder import ResultFolder
    from edgephi_batch.row import Row
    from edgephi_batch.work.ask import AskWork
    from edgephi_batch.work.transcription import TranscriptionWork
    from edgephi_batch.work.work import WorkerModel
    from edgephi_batch.workforce import Workforce

#: What a worker keeps between requests: room for a long prompt that they share.
_CACHE_BYTES = 128 << 20


def worker_model(source: ModelSource, *, with_adapters: bool) -> WorkerModel:
    """The model of the workers; their threads are decided with their number.

    Raises:
        ConfigError: An option is out of range.
    """
    from edgephi_batch.work.work import WorkerModel

    options = source.options(with_adapters=with_adapters)
    if source.cache_bytes is None:
        options = dataclasses.replace(options, cache_bytes=_CACHE_BYTES)
    return WorkerModel(path=str(source.path.absolute()), options=options)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchCommand:
    """A command that was read.

    Attributes:
        name: `ask` or `transcribe`.
        work: Of each worker, but for the number of threads.
        items: The input.
        source: The model folder.
        options: Of every batch command.
    """

    name: str
    work: AskWork | TranscriptionWork
    items: Sequence[Item]
    source: ModelSource
    options: BatchOptions

    def run(self) -> None:
        """Run it to its end and report it; the exit code says whether items failed.

        Raises:
            EdgeError: The model folder, the output or the workers cannot be used.
        """
        from edgephi.bundle.bundle import Bundle
        from edgephi_batch.result_folder import ResultFolder
        from edgephi_batch.run_record import record_of

        bundle = Bundle(self.source.path, check_hashes=self.source.check_hashes)
        plan = self._plan(bundle)
        workers: list[Workforce] = []
        with ResultFolder(self.options.folder, record_of(bundle, self.work, self.name)) as folder:
            engine = partial(self._rows, plan, workers.append)
            state = self._run(folder, engine)
        self._report(state, workers[0] if workers else None)

    def _plan(self, bundle: Bundle) -> WorkerPlan:
        from edgephi_batch.engines.plan import WorkerOptions, WorkerPlan
        from edgephi_batch.workforce import worker_bytes

        options = WorkerOptions(
            on_ray=self.options.on_ray,
            address=self.options.address,
            actors=self.options.actors,
            threads=self.source.threads,
            ignore_memory=self.source.ignore_memory,
            item_s=self.options.item_s,
        )
        has_images, has_audio = any(item.images for item in self.items), any(item.audio for item in self.items)
        need = worker_bytes(bundle, self.work.model.options, has_images=has_images, has_audio=has_audio)
        return WorkerPlan(options=options, worker_bytes=need)

    def _rows(
        self, plan: WorkerPlan, on_start: Callable[[Workforce], None], items: Sequence[Item]
    ) -> Generator[Row, None, None]:
        def with_threads(threads: int) -> AskWork | TranscriptionWork:
            model = self.work.model
            return dataclasses.replace(
                self.work, model=dataclasses.replace(model, options=dataclasses.replace(model.options, threads=threads))
            )

        yield from plan.rows(with_threads, items, on_start)

    def _run(
        self, folder: ResultFolder, engine: Callable[[Sequence[Item]], Generator[Row, None, None]]
    ) -> BatchProgress:
        from edgephi_batch.batch_run import run_batch

        last = "not begun"
        with ProgressLine("starting") as line:
            progress = RunProgress(line)

            def observe(state: BatchProgress) -> None:
                nonlocal last
                last = described(state)
                progress.show(state)

            try:
                return run_batch(
                    self.items, folder, engine, retry_failed=self.options.retry_failed, on_progress=observe
                )
            except KeyboardInterrupt:
                code = interruption.answered()
                line.clear()
                say(f"interrupted: {last}; the same command goes on")
                click.get_current_context().exit(code)

    def _report(self, state: BatchProgress, workers: Workforce | None) -> None:
        """The end of the command, unsuccessful where items failed."""
        results = self.options.folder / "results.jsonl"
        if self.options.as_json:
            summary = {
                "results": str(results),
                "items": state.total,
                "failed": state.failed,
                "new": state.new,
                "elapsed_s": round(state.elapsed_s, 3),
                "engine": "ray" if self.options.on_ray else "processes",
                "workers": None if workers is None else dataclasses.asdict(workers),
            }
            click.echo(json.dumps(summary, ensure_ascii=False))
        else:
            click.echo(f"{one_line(results)}: {described(state)}")
            if workers is not None:
                click.echo(str(workers))
        if state.failed:
            end_unsuccessful(
                f"{state.failed:,} of {state.total:,} items failed; their rows have the error, "
                "and --retry-failed does them again"
            )
