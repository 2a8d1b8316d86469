"""Items in the neutral form, which any data can be put into: items.jsonl, items.tsv or items.parquet.

    {"id": "1", "prompt": "What is it?", "images": ["cup.png"], "audio": [], "answers": ["a cup", "cup"]}

`messages` may stand for `prompt`; `group`, `part`, `language` and `tools` may be given too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgephi.base.errors import ArtifactError
from edgephi.base.json_file import decode
from edgephi_evaluate.item import Item, Role, Turn
from edgephi_evaluate.readers.rows import SUFFIXES, Row, read_rows

NAME = "items"
_COLUMNS = {
    *("id", "prompt", "messages", "system", "tools", "images", "image", "audio"),
    *("answers", "answer", "group", "part", "language"),
}


@dataclass(frozen=True, slots=True)
class _Message:
    role: Role
    content: str
    tools: str | None = None


def items_file(folder: Path) -> Path | None:
    """The folder's file of items, if it has one."""
    return next((path for suffix in SUFFIXES if (path := folder / f"{NAME}{suffix}").is_file()), None)


def read_items(path: Path, prompt: str | None = None) -> Iterator[Item]:
    """Every item of a file.

    Args:
        path: The file.
        prompt: Of items without one of their own; None where there must be one.

    Raises:
        ArtifactError: A row that is no item; the message names it.
        ConfigError: As `read_rows`.
    """
    for row in read_rows(path):
        if unknown := sorted(set(row.columns) - _COLUMNS):
            raise ArtifactError(f"{row.where}: unknown column {unknown[0]!r}; known: {', '.join(sorted(_COLUMNS))}")
        yield item_of(row, prompt)


def item_of(row: Row, prompt: str | None = None) -> Item:
    """The item of a row in the neutral form.

    Raises:
        ArtifactError: The row is none.
    """
    name = row.text("id")
    return Item(
        id=name,
        turns=_turns(row, prompt),
        images=row.media("images", "image") if _given(row, "images", "image") else (),
        audio=row.media("audio") if _given(row, "audio") else (),
        answers=row.texts("answers", "answer") if _given(row, "answers", "answer") else (),
        group=row.optional("group") or name,
        part=row.optional("part"),
        language=row.optional("language"),
    )


def _given(row: Row, *columns: str) -> bool:
    return any(row.has(column) for column in columns)


def _turns(row: Row, prompt: str | None) -> tuple[Turn, ...]:
    if row.has("messages"):
        if row.has("prompt"):
            raise ArtifactError(f"{row.where}: has a prompt and messages; give one of them")
        raw = json.loads(row.json_text("messages"))
        if not isinstance(raw, list) or not raw:
            raise ArtifactError(f"{row.where}: messages is no list of messages; give one or more")
        read = [decode(_Message, one, f"{row.where}: message {number}") for number, one in enumerate(raw, start=1)]
        return tuple(Turn(role=one.role, text=one.content, tools=one.tools) for one in read)
    media = _given(row, "images", "image", "audio")
    text = row.optional("prompt") or prompt
    if text is None and not media:
        raise ArtifactError(f"{row.where}: no prompt; give one, or messages")
    tools = row.json_text("tools") if row.has("tools") else None
    user = Turn(role="user", text=text or "")
    if not row.has("system") and tools is None:
        return (user,)
    return Turn(role="system", text=row.optional("system"), tools=tools), user
