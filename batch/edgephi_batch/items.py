"""One item of a corpus: what is asked of the model, and where its media lie. Only references travel to the workers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaRef:
    """Where an image or a recording lies.

    Attributes:
        place: Path or URI of the file; with `column` of the parquet file that holds it.
        column: The parquet column; empty for a file of its own.
        row_group: In the parquet file, from 0.
        row: In the row group, from 0.
        index: In a cell that is a list, from 0; None where the cell is the media itself.
    """

    place: str
    column: str = ""
    row_group: int = 0
    row: int = 0
    index: int | None = None

    @property
    def name(self) -> str:
        """How messages call it."""
        if not self.column:
            return self.place
        part = "" if self.index is None else f"[{self.index}]"
        return f"{self.place}: {self.column}{part} of row {self.row} in row group {self.row_group}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One row of the input.

    Attributes:
        id: Unique in the input.
        prompt: Text of the user turn; None for the command's own prompt.
        messages: A conversation in its place, as JSON text of the OpenAI chat shape; empty for none.
        images: In the order of the request.
        audio: In the order of the request.
    """

    id: str
    prompt: str | None = None
    messages: str = ""
    images: tuple[MediaRef, ...] = ()
    audio: tuple[MediaRef, ...] = ()
