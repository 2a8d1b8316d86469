"""`edgephi prepare`: derives the weights that long prompts are read with, lists them and deletes them."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgephi.base.errors import CapacityError, ConfigError
from edgephi.base.units import human_bytes, human_duration
from edgephi.console.commands import GroupedCommand, group
from edgephi.console.completion import complete_folders
from edgephi.console.options import json_option
from edgephi.console.report import one_line

if TYPE_CHECKING:
    from edgephi.bundle.bundle import Bundle


@click.command(cls=GroupedCommand)
@click.argument("model", required=False, shell_complete=complete_folders)
@group("Weights", click.option("--delete", is_flag=True, help="Delete what was derived for MODEL; without it, all."))
@group("Weights", click.option("--threads", type=click.IntRange(min=1), metavar="N", help="Threads to derive with."))
@json_option
def prepare(*, model: str | None, delete: bool, threads: int | None, as_json: bool) -> None:
    """Derive the weights that long prompts are read with from those of the model folder MODEL, or list what is there.

    A model that was exported with `--prefill derived` has a graph that reads long prompts faster, and no weights for
    it. A command that reads prompts derives them into the user's cache once that pays; this one does so now, so that no
    prompt waits for it.

    \b
    Examples:
      edgephi prepare phi4mm
      edgephi prepare
      edgephi prepare phi4mm --delete
    """
    from edgephi.decoder.derived_folder import kept

    if model is None and not delete:
        found = [{"path": str(path), **asdict(record)} for path, record in kept()]
        lines = [f"{human_bytes(one.bytes, 2):>9}  {one_line(f'{path}, from {one.model}')}" for path, one in kept()]
        click.echo(json.dumps({"derived": found}) if as_json else "\n".join(lines) or "nothing is derived")
        return
    deleted, made, took_s = [], None, 0.0
    if delete:
        deleted = _delete(model)
    elif model is not None:
        began_s = time.perf_counter()
        made = _derive(model, threads)
        took_s = time.perf_counter() - began_s
    if as_json:
        click.echo(json.dumps({"made": None if made is None else str(made), "deleted": [*map(str, deleted)]}))
    elif delete:
        click.echo("\n".join(f"deleted {one_line(str(path))}" for path in deleted) or "nothing was derived")
    elif made is None:
        click.echo(f"{model}: its weights for long prompts are stored in it; nothing is to be derived")
    else:
        click.echo(f"{one_line(str(made))} is there, after {human_duration(took_s)}")


def _opened(model: str) -> Bundle:
    from edgephi.bundle.bundle import Bundle

    bundle = Bundle(model)
    if bundle.manifest.derived_prefill is None and bundle.manifest.decoder.prefill_graph is None:
        raise ConfigError(
            f"{model}: has no graph for prefill; export it with --prefill derived, or with --prefill int8 to store the "
            "weights in it"
        )
    return bundle


def _derive(model: str, threads: int | None) -> Path | None:
    """Where the weights are, once they are there; None for a folder that has them itself."""
    from edgephi.base.cancellation import never
    from edgephi.decoder.derived_folder import DerivedFolder
    from edgephi.ort.session import DeviceOptions

    bundle = _opened(model)
    if bundle.manifest.derived_prefill is None:
        return None
    folder = DerivedFolder(bundle)
    if not folder.make(threads=DeviceOptions(threads=threads).num_threads, should_stop=never):
        raise CapacityError(
            f"{folder.path}: another process derives weights at this moment; wait for it", reason="disk"
        )
    return folder.path


def _delete(model: str | None) -> list[Path]:
    """What was deleted."""
    from edgephi.decoder.derived_folder import DerivedFolder, delete, kept

    if model is None:
        return [path for path, _ in kept() if delete(path)]
    bundle = _opened(model)
    if bundle.manifest.derived_prefill is None:
        return []
    folder = DerivedFolder(bundle)
    return [folder.path] if delete(folder.path) else []
