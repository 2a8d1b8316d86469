"""`Item`: one request of a benchmark with its right answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """An image or a recording that is read when it is needed.

    Attributes:
        name: For messages: a path, or a file with a row and a column.
        size_bytes: Of the encoded file.
        block: What is read at once to get it; media of one block are best read one after another. Empty for a file.
        read: Gives a path, or the bytes of a file. Can be pickled.
    """

    name: str
    size_bytes: int
    block: str
    read: Callable[[], str | bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One message of a conversation.

    Attributes:
        role: Who speaks.
        text: With `<|image_1|>` and `<|audio_1|>` where media go; without any, they lead the last user turn.
        tools: JSON text of the functions that a system message offers; None for none.
    """

    role: Role
    text: str
    tools: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One request with its right answers.

    Attributes:
        id: Names it within its suite.
        turns: The conversation; the last turn is the user's.
        images: In the order of their tags.
        audio: Likewise.
        answers: Every text that counts as right; what the metric makes of it.
        group: Items of one image, talk or speaker, which are drawn together for intervals.
        part: The data set or kind within the suite that has a figure of its own.
        language: ISO 639-1 code of the reply, where the metric depends on it.
    """

    id: str
    turns: tuple[Turn, ...]
    images: tuple[Media, ...] = ()
    audio: tuple[Media, ...] = ()
    answers: tuple[str, ...] = ()
    group: str
    part: str = ""
    language: str = ""

    @property
    def media(self) -> tuple[Media, ...]:
        """Images, then audio."""
        return (*self.images, *self.audio)

    @property
    def size_bytes(self) -> int:
        """About how much work it is: bytes of its media and of its texts."""
        return sum(one.size_bytes for one in self.media) + sum(len(turn.text) for turn in self.turns)
