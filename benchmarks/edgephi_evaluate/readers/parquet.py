"""Parquet with embedded media: rows without the bytes of media, and these when they are needed."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgephi.base.errors import ArtifactError
from edgephi_evaluate.extras import need

_BATCH = 32


@dataclass(frozen=True, slots=True)
class Cell:
    """Where bytes are: the group of rows, the row in it, the column, and the place in a list or None."""

    path: str
    group: int
    row: int
    column: str
    place: int | None

    @property
    def block(self) -> str:
        """What is read at once."""
        return f"{self.path}:{self.group}:{self.column}"

    @property
    def name(self) -> str:
        """By which `cell_named` finds it again."""
        place = "" if self.place is None else f"[{self.place}]"
        return f"{self.path}#{self.group}/{self.row}/{self.column}{place}"


def cell_named(name: str) -> Cell | None:
    """The cell of a name, or None where the name is of something else."""
    found = re.fullmatch(r"(.+\.parquet)#(\d+)/(\d+)/(.+?)(?:\[(\d+)\])?", name)
    if found is None:
        return None
    return Cell(found[1], int(found[2]), int(found[3]), found[4], None if found[5] is None else int(found[5]))


def rows(path: Path) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Group, row in it and values of every row; bytes are replaced by their length.

    Raises:
        ArtifactError: It is no Parquet.
        ConfigError: pyarrow is not installed.
    """
    file = _open(str(path))
    for group in range(file.num_row_groups):
        place = 0
        for batch in file.iter_batches(batch_size=_BATCH, row_groups=[group]):
            for values in batch.to_pylist():
                yield group, place, {name: _without_bytes(value) for name, value in values.items()}
                place += 1


def read_cell(cell: Cell) -> str | bytes:
    """The bytes of one cell. The last group of rows stays in memory for its other cells.

    Raises:
        ArtifactError: The file changed, or is damaged.
    """
    value = _column(cell.path, cell.group, cell.column)[cell.row].as_py()
    one = value[cell.place] if cell.place is not None else value
    data = one["bytes"] if isinstance(one, dict) else one
    if not isinstance(data, bytes):
        raise ArtifactError(f"{cell.path}: {cell.column} of a row is no media any more; was the file replaced?")
    return data


def _without_bytes(value: Any) -> Any:
    if isinstance(value, bytes):
        return len(value)
    if isinstance(value, list):
        return [_without_bytes(one) for one in value]
    return {k: _without_bytes(v) for k, v in value.items()} if isinstance(value, dict) else value


def _open(path: str) -> Any:
    pyarrow = need("pyarrow.parquet", f"to read {path}")
    try:
        return pyarrow.ParquetFile(path)
    except ValueError as error:  # pyarrow.ArrowInvalid is one
        raise ArtifactError(f"{path}: is no Parquet file ({str(error).splitlines()[0]})") from error


@functools.lru_cache(maxsize=1)
def _column(path: str, group: int, column: str) -> Any:
    return _open(path).read_row_group(group, columns=[column]).column(0).combine_chunks()
