"""What answers, by `--engine` and the options of workers."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast, get_args

import click

from edgephi.base.errors import ConfigError
from edgephi.console.commands import in_group
from edgephi.console.ending import say
from edgephi.console.options import ModelSource
from edgephi.console.packing import Command
from edgephi_batch.commands.options import worker_options

if TYPE_CHECKING:
    from edgephi import Model
    from edgephi_batch.workforce import Workforce
    from edgephi_evaluate.engines.engine import Engine
    from edgephi_evaluate.engines.worker_engine import WorkerEngine

_ON_WORKERS = ("processes", "ray")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """Which engine, and its workers where it has some."""

    engine: str
    actors: int | None
    address: str | None

    def check(self) -> None:
        """Refuse options of workers without any.

        Raises:
            click.UsageError: It names the option.
        """
        given = {"--actors": self.actors is not None, "--address": self.address is not None}
        for name, is_given in given.items():
            if is_given and self.engine not in (("ray",) if name == "--address" else _ON_WORKERS):
                raise click.UsageError(f"{name} is of workers; give it with --engine ray")


def engine_options() -> list[Command]:
    """The options that `EngineOptions` holds."""
    engine = click.option(
        "--engine",
        default="edgephi",
        show_default=True,
        metavar="NAME",
        help="What answers: edgephi; ray or processes, edgephi in several workers, as `edgephi batch` has them; "
        "transformers, the checkpoint MODEL in PyTorch (transformers:float32, transformers:bfloat16); genai, "
        "onnxruntime-genai on a folder of --layout genai; or openai:URL, a server with the model MODEL (its key in "
        "OPENAI_API_KEY).",
    )
    workers = worker_options("Workers of the engines ray and processes.")
    return [*in_group("Model", [engine]), *in_group("Worker", workers)]


@contextlib.contextmanager
def opened(options: EngineOptions, source: ModelSource) -> Iterator[tuple[Engine | WorkerEngine, Model | None]]:
    """What answers, and its model where that is edgephi's and runs in this process.

    Raises:
        ConfigError: There is no such engine.
        EdgeError: It cannot be loaded.
    """
    kind, _, detail = options.engine.partition(":")
    if kind == "openai" and detail:
        from edgephi_evaluate.engines.openai_engine import OpenAIEngine

        with contextlib.closing(OpenAIEngine(detail, source.model, os.environ.get("OPENAI_API_KEY", ""))) as server:
            yield server, None
    elif options.engine == "edgephi":
        from edgephi_evaluate.engines.edgephi_engine import EdgephiEngine

        with source.load() as loaded:
            yield EdgephiEngine(loaded, source.path, source.kv_cache), loaded
    elif options.engine == "genai":
        from edgephi_evaluate.engines.genai_engine import GenaiEngine

        yield GenaiEngine(source.path, source.threads), None
    elif kind == "transformers":
        yield _transformers(source, detail), None
    elif options.engine in _ON_WORKERS:
        yield _workers(options, source), None
    else:
        raise ConfigError(
            f"--engine {options.engine}: no such engine; use edgephi, ray, processes, transformers, genai or openai:URL"
        )


def _transformers(source: ModelSource, detail: str) -> Engine:
    from edgephi_evaluate.engines.transformers_engine import TransformersEngine
    from edgephi_export.runtimes.transformers_model import Precision

    precision = detail or "auto"
    if precision not in get_args(Precision):
        raise ConfigError(
            f"--engine transformers:{detail}: no such precision; use {' or '.join(get_args(Precision)[1:])}"
        )
    return TransformersEngine(source.path, cast("Precision", precision), source.threads)


def _workers(options: EngineOptions, source: ModelSource) -> WorkerEngine:
    from edgephi_batch.commands.running import worker_model
    from edgephi_batch.engines.plan import WorkerOptions
    from edgephi_evaluate.engines.worker_engine import WorkerEngine

    workers = WorkerOptions(
        on_ray=options.engine == "ray",
        address=options.address,
        actors=options.actors,
        threads=source.threads,
        ignore_memory=source.ignore_memory,
    )
    return WorkerEngine(worker_model(source, with_adapters=True), workers, _report)


def _report(workers: Workforce) -> None:
    say(str(workers))
