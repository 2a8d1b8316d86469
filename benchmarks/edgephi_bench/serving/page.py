"""A server's report as one standalone page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath

from edgephi_bench.measure.condition import count_of_clients
from edgephi_bench.measure.measurement import Figure
from edgephi_bench.measure.units import quantity
from edgephi_bench.report.chart_frame import LAYOUTS, Axis, Layout, Rows, bars
from edgephi_bench.report.charts import Plot
from edgephi_bench.report.standalone_page import Card, PageContent, render
from edgephi_bench.report.svg import Drawing
from edgephi_bench.serving.figures import FIRST, MIXED, OVER_FIRST, OVER_REQUEST, OVER_TOKEN, THROUGHPUT, TOKEN
from edgephi_bench.serving.plan import SIDES
from edgephi_bench.serving.report import ServingReport
from edgephi_bench.serving.tables import serving_heading, serving_remarks, serving_tables

_CARDS = {
    OVER_TOKEN: "added per token",
    OVER_REQUEST: "added per request",
    OVER_FIRST: "added before the first token",
    FIRST: "to the first token",
    TOKEN: "per token",
}


def serving_page(report: ServingReport) -> str:
    """The page's HTML."""
    name = f"{PurePath(report.model.path).name or report.model.path} behind edgephi serve"
    return render(
        PageContent(
            name=name,
            subtitle=f"{serving_heading(report)}; {report.date.replace('T', ' ').replace('+00:00', ' UTC')}",
            cards=tuple(_cards(report)),
            plots=tuple(_plots(report)),
            tables=tuple(serving_tables(report)),
            facts=tuple(serving_remarks(report)),
            command=report.environment.command,
        )
    )


def _cards(report: ServingReport) -> Iterator[Card]:
    """Medians with one client, of the first kind of request, and the throughput with the most."""
    mode = report.model.modes[0]
    for name, words in _CARDS.items():
        if figure := report.find("server", mode, name, 1):
            yield Card(quantity(figure.median, figure.unit), f"{words}, {mode}, 1 client")
    most = report.clients[-1]
    if figure := report.find("server", MIXED, THROUGHPUT, most):
        rate = quantity(figure.median, figure.unit).removesuffix(" tokens/s")
        yield Card(rate, f"tokens per second, {count_of_clients(most)}")


def _plots(report: ServingReport) -> Iterator[Plot]:
    rates = [
        (f"{side}, {count_of_clients(clients)}", figure.median, f"s{number}")
        for clients in report.clients
        for number, side in enumerate(SIDES)
        if (figure := report.find(side, MIXED, THROUGHPUT, clients))
    ]
    yield Plot(
        title="Throughput",
        caption="generated tokens per second of all requests, median of the rounds; direct: without the server",
        drawings=tuple(bars(layout, "throughput", rates) for layout in LAYOUTS),
    )
    for name, title in ((FIRST, "Time to first token"), (TOKEN, "Time per output token")):
        figures = [figure for figure in report.figures if figure.name == name and figure.runner == "server"]
        yield Plot(
            title=title,
            caption="of the server: medians; thin mark: p90, from 10 requests on",
            drawings=tuple(_medians(layout, title, figures, report.model.modes) for layout in LAYOUTS),
        )


def _medians(layout: Layout, label: str, figures: list[Figure], modes: tuple[str, ...]) -> Drawing:
    """Bars to the medians; their numbers stand beyond the axis, where no mark crosses them."""
    high = max(max(figure.p90 or 0.0, figure.median, 1e-6) for figure in figures)
    chart = Rows(layout, label, len(figures), Axis(0.0, high, "s"))
    for number, figure in enumerate(figures):
        name, words = f"{figure.mode}, {count_of_clients(figure.condition.clients or 1)}", quantity(figure.median, "s")
        chart.name(number, name)
        look = (f"fill s{modes.index(figure.mode)}", f"{name}: {words}")
        chart.bar(number, (0.0, max(figure.median, 0.0)), look, "")
        chart.drawing.text(layout.end + 8, chart.top(number) + 20 - (4 if layout.above else 0), words, "value")
        if figure.p90 is not None:
            place, top = chart.across(figure.p90), chart.top(number) - (4 if layout.above else 0)
            chart.drawing.line((place, top + 4), (place, top + 26), "mark thin")
    return chart.drawing
