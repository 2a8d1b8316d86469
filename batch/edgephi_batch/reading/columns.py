"""Which columns of the input hold what, and an item of one row's values."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Self

from edgephi.base.errors import ConfigError
from edgephi_batch.items import Item, MediaRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The input's names of the columns that are read; others are left alone."""

    id: str = "id"
    prompt: str = "prompt"
    messages: str = "messages"
    images: str = "images"
    audio: str = "audio"

    @classmethod
    def of(cls, given: Sequence[str]) -> Self:
        """Of lines such as `audio=audio_filepath`.

        Raises:
            ConfigError: One has another form, or names no column that is read.
        """
        known = [field.name for field in fields(cls)]
        pairs = [text.partition("=") for text in given]
        for text, (ours, _, theirs) in zip(given, pairs, strict=True):
            if ours not in known or not theirs:
                raise ConfigError(f"--column is {text!r}; use {', '.join(known)}, =, and the name in the input")
        return cls(**{ours: theirs for ours, _, theirs in pairs})


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """The media that a row names: references, and the first path as it is written, empty for bytes and none."""

    images: tuple[MediaRef, ...]
    audio: tuple[MediaRef, ...]
    first_path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemReader:
    """Makes items of rows.

    Attributes:
        columns: The names in the input.
        needs_audio: Whether each item is one recording.
    """

    columns: Columns
    needs_audio: bool

    def item(self, row: Mapping[str, object], media: Media, *, where: str, label: str) -> Item:
        """The item of a row whose media were found.

        Args:
            row: Its other values by column.
            media: Its media.
            where: The row in messages, such as `list.jsonl: line 3`.
            label: The id of a row that has none and names no file.

        Raises:
            ConfigError: A value of another type, or no single recording where one is needed.
        """
        if self.needs_audio and len(media.audio) != 1:
            raise ConfigError(
                f"{where}: has {len(media.audio)} recordings in its column {self.columns.audio!r}; give one a row, "
                "or name the column with --column audio=NAME"
            )
        messages = row.get(self.columns.messages)
        id_ = row.get(self.columns.id)
        is_number = isinstance(id_, int) and not isinstance(id_, bool)
        return Item(
            id=_text(str(id_) if is_number else id_, f"{where}: {self.columns.id}") or media.first_path or label,
            prompt=_text(row.get(self.columns.prompt), f"{where}: {self.columns.prompt}"),
            messages="" if messages is None else json.dumps(messages),
            images=media.images,
            audio=media.audio,
        )


def _text(value: object, where: str) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise ConfigError(f"{where} is {str(value)[:40]!r}; give a text")
