"""JSON Lines: one object a line, whose media are paths or URIs, relative to the folder of the file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from edgephi.base.errors import ConfigError
from edgephi_batch.items import Item, MediaRef
from edgephi_batch.reading.columns import ItemReader, Media
from edgephi_batch.storage import opened, parent, resolve


def json_items(place: str, reader: ItemReader) -> Iterator[Item]:
    """The items of a file.

    Raises:
        ConfigError: It cannot be read, a line is no JSON object, or its values cannot be used. The message names it.
    """
    folder = parent(place)
    with opened(place) as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            where = f"{place}: line {number}"
            row = _object(line, where)
            images, audio = (
                _paths(row.get(column), f"{where}: {column}")
                for column in (reader.columns.images, reader.columns.audio)
            )
            media = Media(
                images=tuple(MediaRef(place=resolve(path, folder)) for path in images),
                audio=tuple(MediaRef(place=resolve(path, folder)) for path in audio),
                first_path=next(iter([*audio, *images]), ""),
            )
            yield reader.item(row, media, where=where, label=f"line {number}")


def _object(line: bytes, where: str) -> Mapping[str, Any]:
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{where}: not valid JSON ({error}); give one object a line") from None
    if not isinstance(row, dict):
        raise ConfigError(f"{where}: is no JSON object; give one object a line")
    return row


def _paths(value: object, where: str) -> list[str]:
    given = [] if value is None else value if isinstance(value, list) else [value]
    paths = [path for path in given if isinstance(path, str) and path]
    if len(paths) < len(given):
        raise ConfigError(f"{where} is {str(value)[:40]!r}; give a path or a list of paths")
    return paths
