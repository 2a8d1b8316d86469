"""The page: whole, standing alone, and safe whatever names are in a report."""

from __future__ import annotations

import csv
import dataclasses
import io
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest

from edgephi_bench.latency.report import BenchReport
from edgephi_bench.measure.units import quantity
from edgephi_bench.report.page import page
from edgephi_bench.report.svg import Drawing, Scale, ticks
from edgephi_bench.report.text import comma_separated, markdown
from support.reports import report

_VOID = {"meta"}


class _Checker(HTMLParser):
    """Notes tags that are not closed in order, and every attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def _parsed(text: str) -> _Checker:
    checker = _Checker()
    checker.feed(text)
    checker.close()
    assert checker.open == []
    return checker


def test_the_page_needs_nothing_from_outside() -> None:
    text = page(report())
    checker = _parsed(text)
    assert not re.search(r"https?://|//[a-z]|@import|url\(", text)
    assert not {"script", "link", "img", "iframe", "object"} & set(checker.tags)
    assert not {"src", "href"} & {name for name, _ in checker.attributes}


def test_every_drawing_is_well_formed_and_stays_inside_its_frame() -> None:
    drawings = re.findall(r"<svg.*?</svg>", page(report()), re.DOTALL)
    assert len(drawings) == 2 * 4  # stages, depth, threads, distribution, for wide and for narrow screens
    for drawing in drawings:
        root = ET.fromstring(drawing)
        _, _, width, height = map(float, root.attrib["viewBox"].split())
        for element in root:
            for name in ("x", "x1", "x2", "cx"):
                assert 0 <= float(element.get(name, 0)) <= width
            for name in ("y", "y1", "y2", "cy"):
                assert 0 <= float(element.get(name, 0)) <= height


def test_names_from_outside_cannot_become_markup() -> None:
    base = report()
    hostile = "<script>alert(1)</script>\"'&"
    changed = dataclasses.replace(
        base,
        model=dataclasses.replace(base.model, path=hostile, source=hostile),
        environment=dataclasses.replace(base.environment, command=("edgephi", hostile)),
        peers=tuple(dataclasses.replace(peer, error=hostile) for peer in base.peers),
    )
    assert "script" not in _parsed(page(changed)).tags


def test_words_of_a_drawing_cannot_become_markup_either() -> None:
    hostile = "</title></svg><script>alert(1)</script>\"'&"
    drawing = Drawing(100, 50, hostile, "wide")
    drawing.text(1, 2, hostile)
    drawing.bar((0, 0), (5, 5), "fill", hostile)
    drawing.dot(1, 1, 2, "fill", hostile)
    root = ET.fromstring(drawing.__html__())
    assert root.get("aria-label") == hostile
    assert [element.tag for element in root.iter()] == ["svg", "text", "rect", "title", "circle", "title"]
    assert [element.text for element in root.iter() if element.text] == [hostile] * 3


@pytest.mark.parametrize("changes", [{"figures": ()}, {"floors": (), "peers": (), "output": None, "notes": ()}])
def test_a_report_of_a_part_makes_a_page_as_well(changes: dict[str, object]) -> None:
    _parsed(page(report(**changes)))


def test_one_depth_is_shown_as_bars() -> None:
    base = report()
    shallow = tuple(figure for figure in base.figures if figure.condition.depth != 1000)
    text = page(report(figures=shallow, floors=base.floors[:1]))
    assert "0 tokens cached" in text
    assert "polyline" not in text


def test_csv_has_every_figure_with_its_samples() -> None:
    base = report()
    rows = list(csv.DictReader(io.StringIO(comma_separated(base))))
    assert [tuple(row[name] for name in ("runner", "mode", "name", "condition")) for row in rows] == [
        tuple(map(str, figure.key)) for figure in base.figures
    ]
    for row, figure in zip(rows, base.figures, strict=True):
        assert tuple(map(float, row["samples"].split())) == figure.samples
        assert float(row["median"]) == figure.median
        assert row["p99"] == row["p90"] == ""  # of three samples there are none
        assert float(row["mean"]) == figure.mean
        assert (row["cpu"], row["threads"], row["recipe"]) == ("Test CPU", "2", "int4")


def test_markdown_and_page_show_the_same_medians_as_the_report() -> None:
    base: BenchReport = report()
    for text in (markdown(base), page(base)):
        for figure in base.figures:
            assert quantity(figure.median, figure.unit) in text
        for words in ("cdcdcdcd", "optimum", "it is not there", "load, cold: not measured", "Test CPU"):
            assert words in text


def test_markdown_tables_have_as_many_cells_in_every_row() -> None:
    for block in markdown(report()).split("\n\n"):
        rows = [line for line in block.splitlines() if line.startswith("|")]
        assert len({line.count("|") for line in rows}) <= 1


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        (0.0000005, "s", "0.50 \N{MICRO SIGN}s"), (0.0123, "s", "12.3 ms"), (8.1, "s", "8.10 s"), (125, "s", "125 s"),
        (2.7e9, "bytes", "2.70 GB"), (84e6, "bytes", "84 MB"), (126, "tokens", "126 tokens"), (0.314, "x", "0.31"),
    ],
)  # fmt: skip
def test_quantities_are_readable(value: float, unit: str, words: str) -> None:
    assert quantity(value, unit) == words  # type: ignore[arg-type]


def test_axes_have_round_numbers_within_their_range() -> None:
    for low, high in ((0, 7.3), (0.055, 0.062), (0, 16000), (3, 3)):
        found = ticks(low, high)
        assert 1 <= len(found) <= 8
        assert all(low - 1e-9 <= tick <= high + 1e-9 for tick in found)


def test_a_scale_never_leaves_its_axis() -> None:
    scale = Scale(0, 10, 100, 200)
    assert [scale(-5), scale(0), scale(5), scale(99)] == [100, 100, 150, 200]
