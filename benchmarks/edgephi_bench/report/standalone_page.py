"""One standalone page of numbers, plots and tables: no scripts, nothing fetched."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from edgephi.console.tables import Table
from edgephi_bench.report.charts import Plot

_TEMPLATES = Path(__file__).with_name("templates")


@dataclass(frozen=True, slots=True)
class Card:
    """A number that people come for, and what it is."""

    value: str
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PageContent:
    """What a page shows, from above.

    Attributes:
        name: Of what was measured.
        subtitle: How and where, in a line.
        cards: Numbers side by side.
        plots: One under the other.
        tables: Below them.
        facts: What the figures are to be read with, a line each.
        command: The command line, program name first.
    """

    name: str
    subtitle: str
    cards: tuple[Card, ...]
    plots: tuple[Plot, ...]
    tables: tuple[Table, ...]
    facts: tuple[str, ...]
    command: tuple[str, ...]


def render(content: PageContent) -> str:
    """The page's HTML; whatever names hold is text in it."""
    return template("page.html").render(page=content, command=shlex.join(content.command))


@cache
def template(name: str, folder: Path = _TEMPLATES) -> Template:
    """A template that may use the parts and the style beside this file; what it is given is text in it.

    Args:
        name: Its file.
        folder: Where that is.
    """
    environment = Environment(
        loader=FileSystemLoader((folder, _TEMPLATES)),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)
