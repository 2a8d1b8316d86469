"""Where a text may be broken into lines, and how many columns it takes."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

# Escaped are those of Chinese, Japanese, Arabic, Urdu and Hindi.
_SENTENCE = frozenset(".?!\u2026\u3002\uff1f\uff01\u061f\u06d4\u0964")
_CLAUSE = frozenset(",;:\u060c\u061b\u3001\uff0c\uff1b\uff1a\u2013\u2014")
_CLOSING_KINDS, _OPENING_KINDS = ("Pe", "Pf"), ("Ps", "Pi")
_QUOTES = frozenset("\"'")
#: Signs of Japanese that belong to the one before.
_NOT_FIRST = frozenset("ーぁぃぅぇぉっゃゅょァィゥェォッャュョ々")
_JOINER = "\u200d"


@dataclass(frozen=True, slots=True)
class Atom:
    """A piece of text that stays on one line: a word, or a character of a script that has no spaces.

    Attributes:
        text: Never empty.
        glue: What is before it on the same line: a space or nothing.
        columns: Of the text.
    """

    text: str
    glue: str
    columns: int

    @property
    def ends_sentence(self) -> bool:
        """Whether a break behind it is between two sentences."""
        return _last(self.text) in _SENTENCE

    @property
    def ends_clause(self) -> bool:
        """Whether a break behind it is at a comma or the like."""
        return _last(self.text) in _CLAUSE


def num_columns(text: str) -> int:
    """Two for a wide character, none for a mark over or under another."""
    return sum(map(_columns, text))


def atoms(text: str, most_columns: int) -> list[Atom]:
    """A text in parts of at most so many columns; joined with their glue they are its words, a space apart."""
    found: list[Atom] = []
    for word in text.split():
        glue = " " if found else ""
        for part in _parts(word):
            for piece in _cut(part, most_columns):
                found.append(Atom(piece, glue, num_columns(piece)))
                glue = ""
    return found


def joined(parts: list[Atom]) -> str:
    """As they stand on one line."""
    return "".join(part.glue * (index > 0) + part.text for index, part in enumerate(parts))


def _columns(character: str) -> int:
    if _is(character, ("Mn", "Me", "Cf", "Cc")):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


def _is(character: str, kinds: tuple[str, ...]) -> bool:
    return unicodedata.category(character) in kinds


def _last(text: str) -> str:
    """The last character that closes no quotation or bracket."""
    while len(text) > 1 and (text[-1] in _QUOTES or _is(text[-1], _CLOSING_KINDS)):
        text = text[:-1]
    return text[-1]


def _may_begin(character: str) -> bool:
    """Whether a line may begin with it."""
    if character in _SENTENCE or character in _CLAUSE or character in _NOT_FIRST:
        return False
    return not _is(character, _CLOSING_KINDS)


def _parts(word: str) -> Iterator[str]:
    """A word, broken beside its wide characters, but not before what must not begin a line."""
    part, was_wide = "", False
    for cluster in _clusters(word):
        is_wide = _columns(cluster[0]) == 2
        if part and (is_wide or was_wide) and _may_begin(cluster[0]) and not _is(part[-1], _OPENING_KINDS):
            yield part
            part = ""
        part, was_wide = part + cluster, is_wide
    yield part


def _clusters(word: str) -> list[str]:
    """Characters with the marks that belong to them."""
    found: list[str] = []
    for character in word:
        is_mark = _columns(character) == 0 or _is(character, ("Mc",))
        if found and (is_mark or found[-1].endswith(_JOINER)):
            found[-1] += character
        else:
            found.append(character)
    return found


def _cut(part: str, most_columns: int) -> Iterator[str]:
    """Pieces of one that is longer than a line."""
    if num_columns(part) <= most_columns:
        yield part
        return
    piece = ""
    for cluster in _clusters(part):
        if piece and num_columns(piece + cluster) > most_columns:
            yield piece
            piece = ""
        piece += cluster
    yield piece
