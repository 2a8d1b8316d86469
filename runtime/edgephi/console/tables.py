"""A titled table, as reports of the host packages show it on a terminal, in Markdown and on a page alike.

rich draws it on terminals, which no device has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table as RichTable


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A titled table.

    Attributes:
        title: What it shows.
        columns: Their names.
        rows: As many cells each.
        text_columns: How many of the first are words; the others are numbers.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    text_columns: int = 2


def markdown_table(table: Table) -> str:
    """Its lines without the title, the last not ended; what cells hold cannot end them."""
    rule = ["---"] * table.text_columns + ["---:"] * (len(table.columns) - table.text_columns)
    return "\n".join("| " + " | ".join(map(markdown_cell, row)) + " |" for row in (table.columns, rule, *table.rows))


def markdown_cell(text: str) -> str:
    """Text that does not end a cell."""
    return text.replace("|", "\\|")


def drawn(table: Table) -> RichTable:
    """For a console of rich."""
    from rich import box
    from rich.table import Table as RichTable

    shown = RichTable(title=table.title, title_justify="left", box=box.SIMPLE_HEAD)
    for number, column in enumerate(table.columns):
        shown.add_column(column, justify="left" if number < table.text_columns else "right")
    for row in table.rows:
        shown.add_row(*row)
    return shown
