"""The options of every `edgephi batch` command."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import click

from edgephi.console.commands import in_group
from edgephi.console.options import json_option
from edgephi.console.packing import Command, packed
from edgephi_batch.reading.columns import Columns


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOptions:
    """As given on the command line."""

    output: str
    engine: Literal["auto", "processes", "ray"]
    actors: int | None
    address: str | None
    item_s: float
    retry_failed: bool
    column: tuple[str, ...]
    as_json: bool

    @property
    def folder(self) -> Path:
        """The output."""
        return Path(self.output)

    @property
    def columns(self) -> Columns:
        """The input's names.

        Raises:
            ConfigError: A column is not one that is read.
        """
        return Columns.of(self.column)

    @property
    def on_ray(self) -> bool:
        """Whether Ray does the work.

        Raises:
            click.UsageError: An address without Ray.
        """
        if self.address is not None and self.engine == "processes":
            raise click.UsageError("--address is that of a Ray cluster; give it with --engine ray")
        if self.engine == "auto":
            return self.address is not None or _has_ray()
        return self.engine == "ray"


def _has_ray() -> bool:
    """By its metadata: a folder of that name would do for an import."""
    try:
        importlib.metadata.distribution("ray")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def batch_options(command: Command) -> Command:
    """Adds the options; passes them as `options: BatchOptions`."""
    return packed(command, BatchOptions, "options", [*_input_options(), *_engine_options(), *_output_options()])


def _input_options() -> list[Command]:
    return in_group(
        "Input",
        [
            click.option(
                "--column",
                metavar="OURS=THEIRS",
                multiple=True,
                help="What the input calls id, prompt, messages, images or audio, such as audio=audio_filepath; "
                "repeat for more.",
            )
        ],
    )


def worker_options(workers: str) -> list[Command]:
    """How many workers and where: `--actors` and `--address`.

    Args:
        workers: What they are, a sentence.
    """
    return [
        click.option(
            "--actors",
            type=click.IntRange(min=1),
            metavar="N",
            help=f"{workers}  [default: as many as cores and memory allow]",
        ),
        click.option("--address", metavar="HOST:PORT", help="Of a Ray cluster, or auto; without it this machine."),
    ]


def _engine_options() -> list[Command]:
    return in_group(
        "Worker",
        [
            click.option(
                "--engine",
                type=click.Choice(["auto", "processes", "ray"]),
                default="auto",
                show_default=True,
                help="Processes of this machine, or actors of Ray. auto: Ray where it is installed.",
            ),
            *worker_options("Workers, each with a model of its own."),
            click.option(
                "--item-s",
                type=click.FloatRange(min=0.1),
                default=3600.0,
                show_default=True,
                help="Most seconds for one item; what takes longer becomes a row with an error.",
            ),
        ],
    )


def _output_options() -> list[Command]:
    return [
        *in_group(
            "Output",
            [
                click.option("-o", "--output", metavar="FOLDER", required=True, help="The folder of the results."),
                click.option("--retry-failed", is_flag=True, help="Do the items again whose row has an error."),
            ],
        ),
        json_option,
    ]
