"""What the items of many suites have in common: ids, one user turn, options."""

from __future__ import annotations

from edgephi_evaluate.item import Item, Media, Turn
from edgephi_evaluate.readers.rows import Row
from edgephi_evaluate.suite import Part

LETTERS = "ABCDEFGHIJ"


def row_id(row: Row, part: Part, *columns: str) -> str:
    """A name of the row that no other of its part has: that of the data set where it has one, else its number."""
    name = row.optional(*columns) if columns else ""
    return f"{part.name}/{name or f'{row.path.stem}-{row.number}'}"


def ask(text: str) -> tuple[Turn, ...]:
    """One user turn."""
    return (Turn(role="user", text=text),)


def item(
    row: Row, part: Part, text: str, answers: tuple[str, ...], media: tuple[tuple[Media, ...], tuple[Media, ...]]
) -> Item:
    """An item of one user turn, in a group of its own.

    Args:
        row: Where it comes from.
        part: Of its suite.
        text: Of the user's turn.
        answers: What counts as right.
        media: Images, and audio.
    """
    name = row_id(row, part, "id", "question_id", "questionId", "question_id_str", "index")
    images, audio = media
    return Item(
        id=name,
        turns=ask(text),
        images=images,
        audio=audio,
        answers=answers,
        group=name,
        part=part.name,
        language=part.language,
    )
