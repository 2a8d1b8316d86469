"""Shards that were made apart, put together into one run."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from edgephi.base.atomic_write import FolderKind, check_output, staged
from edgephi.base.errors import ConfigError
from edgephi_evaluate.runs.folder import (
    RUN_NAME,
    RunFile,
    check_same,
    read_records,
    read_run,
    shard_name,
    suite_folders,
)
from edgephi_evaluate.runs.record import ItemRecord

_KIND = FolderKind("a run of edgephi evaluate", ())


def merge(runs: Sequence[Path], output: Path) -> int:
    """Write a run that holds the answers of all, each suite in one file.

    Args:
        runs: Folders of runs of the same model, data and options.
        output: The folder to make.

    Returns:
        How many answers there are.

    Raises:
        ConfigError: Runs of different models, data or options, an item that several have, or an output that exists.
        ArtifactError: A run is damaged.
    """
    check_output(output, _KIND, force=False)
    suites: dict[str, tuple[RunFile, dict[str, ItemRecord]]] = {}
    for run in runs:
        for folder in suite_folders(run):
            found = read_run(folder)
            first, records = suites.setdefault(folder.name, (found, {}))
            check_same(folder, dataclasses.replace(found, shards=first.shards), first)
            for record in read_records(folder):
                if record.id in records:
                    raise ConfigError(f"{folder}: item {record.id} is in an earlier run too; leave one of them out")
                records[record.id] = record
    with staged(output, _KIND, force=False) as place:
        for name, (run_file, records) in suites.items():
            _write(place / name, dataclasses.replace(run_file, shards=1), list(records.values()))
    return sum(len(records) for _, records in suites.values())


def _write(folder: Path, run: RunFile, records: list[ItemRecord]) -> None:
    folder.mkdir()
    text = "".join(record.line() for record in sorted(records, key=lambda one: one.id))
    (folder / shard_name(1, 1)).write_text(text, encoding="utf-8")
    (folder / RUN_NAME).write_text(json.dumps(dataclasses.asdict(run), indent=2) + "\n", encoding="utf-8")
