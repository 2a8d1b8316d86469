"""The output of a run: a folder that can be gone on with after any end of the process.

run.json                what the run was started with
results.jsonl.partial   rows as they come, each on the disk within seconds; a torn last line does not count
results.jsonl           in its place once every item has a row: one row for each, in the order of the input
"""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

from edgephi.base.atomic_write import writing
from edgephi.base.errors import ArtifactError, ConfigError
from edgephi.base.file_lock import lock_alone
from edgephi.base.json_file import decode
from edgephi.base.output_file import staged_file
from edgephi_batch.row import Row
from edgephi_batch.run_record import RunRecord

_SYNC_S = 2.0
_RECORD, _RESULTS, _PARTIAL = "run.json", "results.jsonl", "results.jsonl.partial"


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a row stands: the file, and the bytes of its line."""

    name: str
    start: int
    length: int
    is_failed: bool


class ResultFolder:
    """The folder, open and locked; a `with` block closes it.

    Args:
        path: Made if it is not there; its parent must be.
        record: Of this run.

    Raises:
        ConfigError: It is of another run, no output of `edgephi batch`, in use, or cannot be written.
    """

    def __init__(self, path: Path, record: RunRecord) -> None:
        self._path = path
        self._rows: dict[str, _Place] = {}
        self._synced_s = time.monotonic()
        self._lock: BinaryIO | None = None
        self._partial: BinaryIO | None = None
        try:
            self._begin(record)
        except OSError as error:
            self.close()
            raise ConfigError(f"{path}: cannot be written ({error.strerror}); choose another --output") from None
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def results(self) -> Path:
        """The finished file's path."""
        return self._path / _RESULTS

    def has(self, item_id: str, *, failed_too: bool = True) -> bool:
        """Whether an item has a row; with `failed_too` False, one without an error."""
        place = self._rows.get(item_id)
        return place is not None and (failed_too or not place.is_failed)

    def num_failed(self, ids: Iterable[str]) -> int:
        """How many of these items have a row with an error."""
        return sum(place.is_failed for one in ids if (place := self._rows.get(one)) is not None)

    def add(self, row: Row) -> None:
        """Keep a row; the last of an item counts.

        Raises:
            CapacityError: The disk is full.
            EdgeError: It cannot be written.
        """
        assert self._partial is not None
        data = f"{row.line}\n".encode()
        with writing(self._path / _PARTIAL):
            start = self._partial.tell()
            self._partial.write(data)
            self._partial.flush()
            self._rows[row.id] = _Place(_PARTIAL, start, len(data), row.is_failed)
            if time.monotonic() - self._synced_s >= _SYNC_S:
                os.fdatasync(self._partial.fileno())
                self._synced_s = time.monotonic()

    def finish(self, ids: Iterable[str]) -> None:
        """Write results.jsonl: the row of each of these items, which all have one, in this order.

        Raises:
            CapacityError: The disk is full; all rows are kept.
            EdgeError: It cannot be written; all rows are kept.
        """
        assert self._partial is not None
        self._partial.flush()
        sources = {name: self._path / name for name in (_RESULTS, _PARTIAL) if (self._path / name).exists()}
        opened = {name: path.open("rb") for name, path in sources.items()}
        try:
            with writing(self.results), staged_file(self.results) as stream:
                for place in (self._rows[one] for one in ids):
                    opened[place.name].seek(place.start)
                    stream.write(opened[place.name].read(place.length))
        finally:
            for one in opened.values():
                one.close()
        self._partial.close()
        self._partial = None
        with suppress(OSError):
            (self._path / _PARTIAL).unlink()

    def close(self) -> None:
        """Leave everything as it is, on the disk."""
        for stream in (self._partial, self._lock):
            if stream is not None:
                with suppress(OSError, ValueError):
                    os.fdatasync(stream.fileno())
                stream.close()

    def _begin(self, record: RunRecord) -> None:
        is_new = not self._path.exists()
        if is_new:
            self._path.mkdir()
        elif not (self._path / _RECORD).is_file() and any(self._path.iterdir()):
            raise ConfigError(f"{self._path}: exists and is no output of `edgephi batch`; choose another --output")
        self._lock = (self._path / _RECORD).open("ab+")
        lock_alone(self._lock, f"{self._path}: another process is writing it; wait for it to end")
        self._check(record)
        for name in (_RESULTS, _PARTIAL):
            self._read(name)
        self._partial = (self._path / _PARTIAL).open("ab")

    def _check(self, record: RunRecord) -> None:
        assert self._lock is not None
        self._lock.seek(0)
        text = self._lock.read()
        place = self._path / _RECORD
        if not text.endswith(b"\n"):  # the process ended before it was whole
            self._lock.truncate(0)
            self._lock.write(json.dumps(dataclasses.asdict(record)).encode() + b"\n")
            self._lock.flush()
            return
        try:
            found = decode(RunRecord, json.loads(text), str(place))
        except (ValueError, ArtifactError) as error:
            raise ConfigError(f"{place}: cannot be read ({error}); choose another --output") from None
        if what := found.difference(record):
            raise ConfigError(
                f"{self._path}: holds rows of another {what}; give the same again, or choose another --output"
            )

    def _read(self, name: str) -> None:
        """Find the rows of a file; what follows its last whole line is cut off."""
        path = self._path / name
        if not path.exists():
            return
        start = 0
        with path.open("rb") as stream:
            for line in stream:
                row = _parsed(line)
                if row is None:
                    break
                self._rows[row[0]] = _Place(name, start, len(line), row[1])
                start += len(line)
        if name == _PARTIAL:
            os.truncate(path, start)


def _parsed(line: bytes) -> tuple[str, bool] | None:
    """The id of a row and whether it has an error; None of a line that is not whole."""
    try:
        raw = json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None
    if not isinstance(raw, dict) or not isinstance(raw.get("id"), str):
        return None
    return raw["id"], raw.get("error") is not None
