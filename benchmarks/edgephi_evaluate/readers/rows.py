"""`Row`: one row of a data file, read by column with messages that name the file and the row.

JSON lines and TSV need nothing; Parquet needs pyarrow.
"""

from __future__ import annotations

import base64
import binascii
import csv
import functools
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgephi.base.errors import ArtifactError, ConfigError
from edgephi_evaluate.item import Media
from edgephi_evaluate.readers import parquet
from edgephi_evaluate.readers.json_lines import json_lines

SUFFIXES = (".jsonl", ".json", ".tsv", ".parquet")
#: No path is as long; a shorter text in a column of media is a path.
_LEAST_BASE64 = 300


@dataclass(frozen=True, slots=True)
class Row:
    """One row.

    Attributes:
        path: Of its file.
        number: Of the row in it, from 0.
        group: Of rows of a Parquet file, from 0, and the row's number in there; None for other files.
    """

    path: Path
    number: int
    _values: dict[str, Any]
    group: tuple[int, int] | None = None

    @property
    def where(self) -> str:
        """For messages."""
        return f"{self.path}, row {self.number + 1:,}"

    def has(self, column: str) -> bool:
        """Whether the row has a value there."""
        return self._values.get(column) not in (None, "")

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the file's columns."""
        return tuple(self._values)

    def text(self, *columns: str) -> str:
        """The text, or the number as a text, of the first of these columns that the row has.

        Raises:
            ArtifactError: It has none of them, or something else in it.
        """
        value = self._first(columns)
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ArtifactError(f"{self.where}: {columns[0]} is no text; give a text")
        return str(value)

    def optional(self, *columns: str) -> str:
        """The same; empty where the row has none of them.

        Raises:
            ArtifactError: There is something else than text.
        """
        return self.text(*columns) if any(map(self.has, columns)) else ""

    def number_in(self, *columns: str) -> int:
        """A whole number.

        Raises:
            ArtifactError: There is none.
        """
        text = self.text(*columns)
        try:
            return int(text)
        except ValueError:
            raise ArtifactError(f"{self.where}: {columns[0]} is {text!r}; give a whole number") from None

    def texts(self, *columns: str) -> tuple[str, ...]:
        """A list of texts; one text is a list of one, and a text that is a JSON list is that list.

        Raises:
            ArtifactError: There is something else.
        """
        value = self._first(columns)
        if isinstance(value, str) and value.lstrip().startswith("["):
            try:
                value = json.loads(value)
            except ValueError:
                raise ArtifactError(f"{self.where}: {columns[0]} begins with [ and is no JSON list") from None
        entries = value if isinstance(value, list) else [value]
        if not all(isinstance(one, str | int | float) for one in entries):
            raise ArtifactError(f"{self.where}: {columns[0]} holds something else than texts; give texts")
        return tuple(map(str, entries))

    def json_text(self, column: str) -> str:
        """What is there, as JSON; a text is taken for JSON.

        Raises:
            ArtifactError: There is nothing.
        """
        value = self._first((column,))
        return value if isinstance(value, str) else json.dumps(value)

    def media(self, *columns: str) -> tuple[Media, ...]:
        """Images or recordings: paths, the struct `{bytes, path}` of Hugging Face's data sets, or base64; or lists.

        Raises:
            ArtifactError: There is something else, or a file is missing.
        """
        name = next((column for column in columns if self.has(column)), columns[0])
        value = self._first(columns)
        if isinstance(value, str) and value.startswith("["):
            value = list(self.texts(name))
        entries = value if isinstance(value, list) else [value]
        places = range(len(entries)) if isinstance(value, list) else [None]
        return tuple(self._one(name, entry, place) for entry, place in zip(entries, places, strict=True))

    def _one(self, column: str, value: object, place: int | None) -> Media:
        if isinstance(value, str) and len(value) < _LEAST_BASE64:
            return media_file(self.path.parent / value, self.where)
        if isinstance(value, dict) and value.get("bytes") is None and isinstance(value.get("path"), str):
            return media_file(self.path.parent / value["path"], self.where)
        name = f"{self.where}, {column}"
        data = value.get("bytes") if isinstance(value, dict) else value
        if isinstance(data, str):
            try:
                data = base64.b64decode(data, validate=True)
            except binascii.Error:
                raise ArtifactError(f"{name}: neither a path nor base64; give one of them") from None
        if isinstance(data, int):  # Parquet: its length, so that a pass over the rows keeps nothing
            assert self.group is not None  # only the reader of Parquet gives lengths
            cell = parquet.Cell(str(self.path), *self.group, column, place)
            read = functools.partial(parquet.read_cell, cell)
            return Media(name=cell.name, size_bytes=data, block=cell.block, read=read)
        if not isinstance(data, bytes):
            raise ArtifactError(f"{name}: no image or recording; give a path, base64 or bytes")
        return Media(name=name, size_bytes=len(data), block="", read=functools.partial(_same, data))

    def _first(self, columns: Sequence[str]) -> Any:
        for column in columns:
            if self.has(column):
                return self._values[column]
        raise ArtifactError(
            f"{self.where}: no {' or '.join(columns)}; it has {', '.join(self._values) or 'nothing'}: is it the right "
            "data set?"
        )


def media_file(path: Path, where: str) -> Media:
    """Media in a file of their own.

    Raises:
        ArtifactError: There is none.
    """
    try:
        size = path.stat().st_size
    except (OSError, ValueError):
        raise ArtifactError(f"{where}: {path} is not there; paths count from the folder of the data file") from None
    return Media(name=str(path), size_bytes=size, block="", read=functools.partial(_same_text, str(path)))


def read_rows(path: Path) -> Iterator[Row]:
    """Every row of a data file, in order.

    Raises:
        ArtifactError: It cannot be read, or a line of it cannot.
        ConfigError: It is of another kind, or Parquet without pyarrow.
    """
    if path.suffix not in SUFFIXES:
        raise ConfigError(f"{path}: data files end in {', '.join(SUFFIXES)}")
    try:
        if path.suffix == ".parquet":
            for number, (group, place, values) in enumerate(parquet.rows(path)):
                yield Row(path, number, values, (group, place))
        elif path.suffix in (".jsonl", ".json"):
            yield from (Row(path, number, values) for number, values in enumerate(json_lines(path)))
        else:
            yield from _tab_separated(path)
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise ArtifactError(f"{path}: not UTF-8 at byte {error.start:,}; convert it") from error


def _tab_separated(path: Path) -> Iterator[Row]:
    csv.field_size_limit(sys.maxsize)  # images are in there, in base64
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream, delimiter="\t", strict=True)
        try:
            for number, values in enumerate(reader):
                if None in values or None in values.values():
                    raise ArtifactError(f"{path}, row {number + 1:,}: has not as many fields as the first line")
                yield Row(path, number, dict(values))
        except csv.Error as error:
            raise ArtifactError(f"{path}, line {reader.line_num:,}: not tab-separated text ({error})") from error


def _same(data: bytes) -> str | bytes:
    return data


def _same_text(path: str) -> str | bytes:
    return path
