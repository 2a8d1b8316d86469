"""The folder of a run: for each suite run.json and a file of answers for each shard. A killed run goes on in it."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from edgephi.base.atomic_write import writing
from edgephi.base.errors import ArtifactError, ConfigError
from edgephi.base.file_lock import lock_alone
from edgephi.base.json_file import decode, read_json
from edgephi.base.output_file import staged_file
from edgephi_evaluate.runs.identity import RunIdentity
from edgephi_evaluate.runs.record import ItemRecord, read_record

RUN_NAME = "run.json"
_VERSION = 1
_SYNC_EVERY = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where it ran."""

    cpu: str
    cores: int
    memory_bytes: int
    system: str
    energy_source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFile:
    """The content of run.json.

    Attributes:
        version: Of this form.
        digest: Of the identity.
        identity: What the figures depend on.
        shards: Into how many files the answers are divided.
        machine: Of whoever began the run.
        command: The command line that began it, program name first.
    """

    version: int = _VERSION
    digest: str
    identity: RunIdentity
    shards: int
    machine: Machine
    command: tuple[str, ...]


def suite_folder(run: Path, suite: str) -> Path:
    """Where the answers of a suite are."""
    return run / suite.replace(":", "-")


def shard_name(shard: int, shards: int) -> str:
    """The file of a shard, from 1."""
    return f"items-{shard}-of-{shards}.jsonl"


def begin(folder: Path, wanted: RunFile) -> None:
    """Make the folder of a suite, or find that it is of the same run.

    Raises:
        ConfigError: It is of another model, other data or other options, or was divided otherwise.
        ArtifactError: It holds answers of nobody knows what.
        EdgeError: It cannot be written.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    path = folder / RUN_NAME
    if path.exists():
        check_same(folder, read_run(folder), wanted)
        return
    if any(folder.glob("items-*.jsonl")):
        raise ArtifactError(f"{folder}: has answers and no {RUN_NAME}; choose another -o")
    text = json.dumps(dataclasses.asdict(wanted), indent=2, ensure_ascii=False) + "\n"
    with writing(path), staged_file(path) as stream:
        stream.write(text.encode())


def check_same(folder: Path, found: RunFile, wanted: RunFile) -> None:
    """Refuse to add answers of another run.

    Raises:
        ConfigError: It names the first difference.
    """
    if found.digest != wanted.digest:
        words = found.identity.difference(wanted.identity) or "other contents"
        raise ConfigError(f"{folder}: holds a run with {words}; choose another -o, or remove the folder")
    if found.shards != wanted.shards:
        raise ConfigError(
            f"{folder}: is divided into {found.shards} shards, not {wanted.shards}; use --shard I/N as it is"
        )


def read_run(folder: Path) -> RunFile:
    """The run.json of a suite's folder.

    Raises:
        ArtifactError: It is missing, damaged or changed.
    """
    path = folder / RUN_NAME
    run = decode(RunFile, read_json(path, "; give the folder that -o named"), str(path))
    if run.version != _VERSION:
        raise ArtifactError(f"{path}: of version {run.version}, this program reads {_VERSION}; run it again")
    if run.identity.digest() != run.digest:
        raise ArtifactError(f"{path}: was changed by hand: its digest is another; run it again")
    return run


def suite_folders(run: Path) -> tuple[Path, ...]:
    """The folders of a run's suites, or the folder itself if it is one.

    Raises:
        ArtifactError: There are none.
    """
    if (run / RUN_NAME).is_file():
        return (run,)
    found = tuple(sorted(path.parent for path in run.glob(f"*/{RUN_NAME}")))
    if not found:
        raise ArtifactError(f"{run}: holds no run of `edgephi evaluate`; give the folder that -o named")
    return found


def read_records(folder: Path) -> list[ItemRecord]:
    """Every whole answer in a suite's folder.

    Raises:
        ArtifactError: A line is damaged, or an item is there twice.
    """
    records: dict[str, ItemRecord] = {}
    for path in sorted(folder.glob("items-*.jsonl")):
        for number, line in enumerate(_whole_lines(path), start=1):
            record = read_record(line, f"{path}, line {number:,}")
            if record.id in records:
                raise ArtifactError(f"{path}, line {number:,}: item {record.id} is there twice; remove one")
            records[record.id] = record
    return list(records.values())


def _whole_lines(path: Path) -> list[str]:
    try:
        data = path.read_bytes()
        return data[: data.rfind(b"\n") + 1].decode().splitlines()
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise ArtifactError(f"{path}: not UTF-8 at byte {error.start:,}; remove the line") from error


class ShardFile:
    """A file that answers are appended to. What a kill cut off is dropped when it is opened again.

    Attributes:
        done: Ids of the items that have an answer.
    """

    def __init__(self, path: Path, stream: BinaryIO) -> None:
        self._stream = stream
        self._unsynced = 0
        stream.seek(0)
        data = stream.read()
        whole = data.rfind(b"\n") + 1
        stream.truncate(whole)
        stream.seek(whole)
        lines = data[:whole].decode().splitlines()
        self.done = {read_record(line, f"{path}, line {n:,}").id for n, line in enumerate(lines, start=1)}

    def append(self, record: ItemRecord) -> None:
        """Add an answer. At most 20 are lost when the machine loses its power, none when the process is killed."""
        self._stream.write(record.line().encode())
        self._stream.flush()
        self.done.add(record.id)
        self._unsynced += 1
        if self._unsynced >= _SYNC_EVERY:
            self.sync()

    def sync(self) -> None:
        """Have the disk hold all answers."""
        os.fsync(self._stream.fileno())
        self._unsynced = 0


@contextmanager
def open_shard(path: Path) -> Iterator[ShardFile]:
    """The file of a shard, locked against a second process.

    Raises:
        ConfigError: Another process writes it.
        CapacityError: The disk filled up.
        EdgeError: It cannot be written.
    """
    with writing(path), path.open("a+b") as stream:
        lock_alone(stream, f"{path}: another process is writing it; wait for it, or use --shard")
        shard = ShardFile(path, stream)
        try:
            yield shard
        finally:
            shard.sync()
