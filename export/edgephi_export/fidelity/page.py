"""A fidelity report as one standalone page: no scripts, nothing fetched."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from edgephi_export.fidelity.plots import HEIGHT, WIDTH, plots, series_names
from edgephi_export.fidelity.report import FidelityReport
from edgephi_export.fidelity.tables import tables

_TEMPLATES = Path(__file__).with_name("templates")


def page(report: FidelityReport) -> str:
    """The page's HTML; whatever names hold is text in it."""
    return _template().render(
        report=report,
        plots=plots(report),
        series=series_names(report),
        tables=tables(report),
        facts=tuple(_facts(report)),
        size=(WIDTH, HEIGHT),
        command=shlex.join(report.command),
    )


def _facts(report: FidelityReport) -> Iterator[str]:
    examples = report.examples
    left_out = f", {examples.left_out:,} left out: not every folder serves their mode" if examples.left_out else ""
    yield f"{examples.examples:,} examples of {examples.path or 'edgephi itself'}{left_out}"
    yield "KL divergence from the reference in nats, along the right answers; ± is a standard error over examples"
    yield "noise KL: the reference beside itself with another number of threads and shorter passes"
    yield "loops: replies that end in the same tokens three times over, 12 tokens or more"
    yield "intervals: 95 %, by drawing the examples 2,000 times; an increase draws the same examples for both models"
    yield f"tokens/s as measured in this run, {report.threads} threads, {report.cpu}"
    yield f"reference {report.reference.path}, manifest {report.reference.manifest_sha256}"
    for model in report.models:
        yield f"{model.folder.path}, {model.folder.kv_cache} cache, manifest {model.folder.manifest_sha256}"


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html")
