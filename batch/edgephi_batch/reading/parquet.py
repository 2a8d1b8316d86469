"""Parquet: a row is an item. Media are paths, or bytes in the file, which the worker reads when it comes to the row.

Bytes stand in a binary column or as `{bytes, path}`, one or a list of them, as public data sets keep them.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from edgephi.base.errors import ConfigError, EdgeError
from edgephi_batch.items import Item, MediaRef
from edgephi_batch.reading.columns import ItemReader, Media
from edgephi_batch.storage import opened, parent, resolve


def parquet_items(place: str, reader: ItemReader, label: str) -> Iterator[Item]:
    """The items of a file; the bytes of its media are not read.

    Args:
        place: Path or URI.
        reader: Makes the items.
        label: The file's name, the beginning of ids where the rows have none.

    Raises:
        ConfigError: It cannot be read, or a value cannot be used. The message names the row.
        EdgeError: pyarrow is not installed.
    """
    with opened(place) as stream:
        file = _parquet_file(stream, place)
        media = (reader.columns.images, reader.columns.audio)
        schema = file.schema_arrow
        kinds = {name: _kind(schema.field(name).type) for name in media if name in schema.names}
        own = (reader.columns.id, reader.columns.prompt, reader.columns.messages)
        names = [name for name in own if name in schema.names]
        names += [part for name, kind in kinds.items() if (part := _cheapest(file, name, kind))]
        for group in range(file.num_row_groups):
            table = file.read_row_group(group, columns=names)
            rows = table.to_pylist() if names else [{}] * file.metadata.row_group(group).num_rows
            for number, row in enumerate(rows):
                where = f"{place}: row {number} of row group {group}"
                cells = _Cells(place=place, row=row, kinds=kinds, group=group, number=number)
                images, audio = cells.refs(media[0]), cells.refs(media[1])
                path = next((ref.place for ref in (*audio, *images) if not ref.column), "")
                found = Media(images=images, audio=audio, first_path=path)
                yield reader.item(row, found, where=where, label=f"{label}/{group}/{number}")


def cell_bytes(ref: MediaRef) -> bytes:
    """The bytes of a media cell. The row group that was read last stays in memory: its rows come one after another.

    Raises:
        ConfigError: The file cannot be read, or the cell holds no bytes.
        EdgeError: pyarrow is not installed.
    """
    value = _group(ref.place, ref.row_group, ref.column)[ref.row].as_py()
    value = value if ref.index is None else value[ref.index]
    value = value.get("bytes") if isinstance(value, dict) else value
    if not isinstance(value, bytes):
        raise ConfigError(f"{ref.name}: holds no bytes; give the file's content, or its path in a column of texts")
    return value


@functools.lru_cache(maxsize=1)
def _group(place: str, group: int, column: str) -> Any:
    with opened(place) as stream:
        return _parquet_file(stream, place).read_row_group(group, columns=[column]).column(0)


def _parquet_file(stream: object, place: str) -> Any:
    try:
        from pyarrow import ArrowInvalid  # noqa: PLC0415 - other inputs are read without it
        from pyarrow.parquet import ParquetFile  # noqa: PLC0415
    except ImportError:
        raise EdgeError('parquet files need pyarrow; run: pip install "edgephi[batch]"') from None
    try:
        return ParquetFile(stream)
    except ArrowInvalid as error:
        raise ConfigError(f"{place}: is no parquet file ({error}); check the input") from None


def _kind(type_: Any) -> str:
    """`path`, `bytes` or `struct`, after `list ` where a cell holds several."""
    from pyarrow import types  # noqa: PLC0415

    if types.is_list(type_) or types.is_large_list(type_):
        return f"list {_kind(type_.value_type)}"
    if types.is_string(type_) or types.is_large_string(type_):
        return "path"
    return "struct" if types.is_struct(type_) else "bytes"


def _cheapest(file: Any, name: str, kind: str) -> str | None:
    """The part of a media column that gives how many there are in each cell; None where one in each is certain."""
    paths = [file.schema.column(index).path for index in range(len(file.schema))]
    path = next((one for one in paths if one.startswith(f"{name}.") and one.endswith(".path")), None)
    if kind in ("bytes", "struct") and path is None:
        return None
    return path or name


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cells:
    """The media cells of one row; `kinds` are those of the columns."""

    place: str
    row: Mapping[str, Any]
    kinds: Mapping[str, str]
    group: int
    number: int

    def refs(self, column: str) -> tuple[MediaRef, ...]:
        """References to the media of a column, none where the cell is empty.

        Raises:
            ConfigError: A path is no text, or an empty one.
        """
        kind, value = self.kinds.get(column, ""), self.row.get(column)
        if value is None and (not kind or column in self.row):
            return ()
        if kind.endswith("path"):
            paths: list[str] = value if isinstance(value, list) else [str(value)]
            if not all(paths):
                raise ConfigError(f"{self.place}: an empty path in column {column!r}; give the path of a file")
            return tuple(MediaRef(place=resolve(path, parent(self.place))) for path in paths)
        indices = range(len(value)) if isinstance(value, list) else (None,)
        return tuple(
            MediaRef(place=self.place, column=column, row_group=self.group, row=self.number, index=index)
            for index in indices
        )
