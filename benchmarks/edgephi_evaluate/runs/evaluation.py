"""A run over suites: data are read and checked, then the engine is asked what has no answer yet."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgephi.base import hardware
from edgephi.base.errors import ConfigError
from edgephi.base.step import OnStep
from edgephi_bench.measure.energy import EnergyMeter
from edgephi_evaluate.engines.engine import Engine
from edgephi_evaluate.engines.worker_engine import WorkerEngine
from edgephi_evaluate.item import Item
from edgephi_evaluate.runs.folder import Machine, RunFile, begin, open_shard, shard_name, suite_folder
from edgephi_evaluate.runs.identity import RunIdentity, SuiteIdentity
from edgephi_evaluate.runs.runner import Work, ask_all
from edgephi_evaluate.suite import Suite
from edgephi_evaluate.suites.registry import Selection, find_suite, selected, suite_files, suite_items


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedSuite:
    """A suite with the items of one shard, and what identifies all of them."""

    suite: Suite
    identity: SuiteIdentity
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What is run.

    Attributes:
        engine: Answers.
        run: Folder of the answers.
        selection: Of items.
        command: The command line, program name first.
    """

    engine: Engine | WorkerEngine
    run: Path
    selection: Selection
    command: tuple[str, ...]


def load_suites(names: Sequence[str], data: Path, selection: Selection) -> tuple[LoadedSuite, ...]:
    """Read the data of suites; nothing is asked yet.

    Raises:
        ConfigError: No such suite, no data, or a package of the extra is missing.
        ArtifactError: A row that is no item.
    """
    return tuple(_loaded(find_suite(name), data, selection) for name in names)


def _loaded(suite: Suite, data: Path, selection: Selection) -> LoadedSuite:
    files = suite_files(suite, data)
    items = list(suite_items(suite, files))
    whole = Selection(limit=selection.limit, seed=selection.seed)
    number = len(items) if selection.limit is None else len(selected(items, whole))
    if not number:
        raise ConfigError(f"{files.folder}: holds no items of {suite.name}")
    return LoadedSuite(
        suite=suite,
        items=tuple(selected(items, selection)),
        identity=SuiteIdentity(
            name=suite.name,
            version=suite.version,
            data_sha256=files.sha256(),
            prompt=suite.prompt,
            metric=suite.metric.name,
            max_new_tokens=suite.max_new_tokens,
            adapter=suite.adapter,
            items=number,
            limit=selection.limit,
            seed=selection.seed if selection.limit is not None else 0,
        ),
    )


def evaluate(wanted: Evaluation, suites: Sequence[LoadedSuite], on_step: OnStep) -> None:
    """Ask every item that has no answer in the run's folder.

    Raises:
        ConfigError: The folder holds another run, or another process writes it.
        EdgeError: The engine answers nothing, or the folder cannot be written.
    """
    selection = wanted.selection
    for one in suites:
        begin(suite_folder(wanted.run, one.suite.name), run_file(wanted, one.identity))
    for one in suites:
        path = suite_folder(wanted.run, one.suite.name) / shard_name(selection.shard, selection.shards)
        with open_shard(path) as shard:
            ask_all(wanted.engine, Work(suite=one.suite, items=one.items, shard=shard), on_step)


def run_file(wanted: Evaluation, suite: SuiteIdentity) -> RunFile:
    """What run.json says of a suite that is run on this machine."""
    identity = RunIdentity(engine=wanted.engine.identity, suite=suite)
    machine = Machine(
        cpu=hardware.cpu_name(),
        cores=hardware.num_hardware_threads(),
        memory_bytes=hardware.memory().total_bytes,
        system=f"{platform.system()} {platform.release()}",
        energy_source=EnergyMeter().source or "",
    )
    return RunFile(
        digest=identity.digest(),
        identity=identity,
        shards=wanted.selection.shards,
        machine=machine,
        command=wanted.command,
    )
