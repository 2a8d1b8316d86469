"""The items of an input, whatever its form, each with an id of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import PurePath

from edgephi.base.errors import ConfigError
from edgephi_batch.items import Item
from edgephi_batch.reading.columns import ItemReader
from edgephi_batch.reading.folder import folder_items, is_media
from edgephi_batch.reading.json_lines import json_items
from edgephi_batch.reading.parquet import parquet_items
from edgephi_batch.storage import files_below, is_folder, is_uri, resolve

_LINES, _PARQUET = (".jsonl", ".ndjson"), ".parquet"


def read_corpus(place: str, reader: ItemReader) -> tuple[Item, ...]:
    """The items in the order of the input.

    Args:
        place: Path or URI of a folder, or of a .jsonl or .parquet file.
        reader: Makes items of rows.

    Raises:
        ConfigError: It is none of these, holds no item, two of one id, or values that cannot be used.
        EdgeError: pyarrow is needed and not installed.
    """
    items = tuple(_items(place if is_uri(place) else os.path.abspath(place), reader))
    if not items:
        raise ConfigError(
            f"{place}: holds no items; give a folder of recordings or images, or a .jsonl or .parquet file"
        )
    seen = set[str]()
    for item in items:
        if item.id in seen:
            raise ConfigError(f"{place}: two items have the id {item.id!r}; give each an id of its own")
        seen.add(item.id)
    return items


def _items(place: str, reader: ItemReader) -> Iterator[Item]:
    if is_folder(place):
        names = files_below(place)
        tables = [name for name in names if name.endswith(_PARQUET)]
        media = [name for name in names if is_media(name, with_images=not reader.needs_audio)]
        if tables and media:
            raise ConfigError(f"{place}: holds parquet files and media; give a folder that holds one kind")
        yield from folder_items(place, media)
        for name in tables:
            yield from parquet_items(resolve(name, place), reader, name)
    elif PurePath(place).suffix.lower() in _LINES:
        yield from json_items(place, reader)
    elif PurePath(place).suffix.lower() == _PARQUET:
        yield from parquet_items(place, reader, PurePath(place).name)
    else:
        raise ConfigError(f"{place}: is no input; give a folder of recordings or images, or a .jsonl or .parquet file")
