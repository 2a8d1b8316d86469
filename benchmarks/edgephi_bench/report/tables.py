"""A report as rows of text: what the terminal, Markdown and the page show alike."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable

from edgephi.console.tables import Table
from edgephi_bench.latency.aliases import known_as
from edgephi_bench.latency.report import BenchReport
from edgephi_bench.measure.condition import Condition, count_of_threads
from edgephi_bench.measure.environment import Environment
from edgephi_bench.measure.machine_state import busy_warning
from edgephi_bench.measure.measurement import DECODE_STEP, PREFILL, Figure, Ratio
from edgephi_bench.measure.units import quantity

_OURS = "edgephi"


def tables(report: BenchReport) -> tuple[Table, ...]:
    """The tables of a report, without those that have no rows."""
    found = [
        *(_stage_table(report, *kind) for kind in request_kinds(report)),
        _decode_table(report),
        _other_table(report),
        _ratio_table(report),
    ]
    return tuple(table for table in found if table.rows)


def request_kinds(report: BenchReport) -> tuple[tuple[str, Condition], ...]:
    """Mode and condition of every kind of request that was measured."""
    kinds = {(item.mode, item.condition): None for item in report.figures if item.runner == _OURS and _is_request(item)}
    return tuple(kinds)


def _stage_table(report: BenchReport, mode: str, condition: Condition) -> Table:
    figures = [
        figure
        for figure in report.figures
        if figure.runner == _OURS and (figure.mode, figure.condition) == (mode, condition)
    ]
    table = figure_table(
        f"{mode.capitalize()}: {condition}", figures, label=lambda figure: (_named(figure),), columns=("stage",)
    )
    keys = {figure.key for figure in report.figures}
    for peer in report.peers:
        if any((peer.name, *figure.key[1:]) in keys for figure in figures):
            table = _with_peer(table, report, figures, peer.name)
    return table


def _with_peer(table: Table, report: BenchReport, figures: list[Figure], peer: str) -> Table:
    """Two columns more: the peer's median and how many times faster ours is; `-` where the peer has no such stage."""
    theirs = {figure.key[1:]: figure for figure in report.figures if figure.runner == peer}
    faster: dict[tuple[str, str, Condition], str] = {}
    for ratio in report.ratios:
        if ratio.peer == peer:  # medians come before means
            faster.setdefault((ratio.mode, ratio.name, ratio.condition), f"{ratio.median:.2f}")
    rows = []
    for row, figure in zip(table.rows, figures, strict=True):
        found = theirs.get(figure.key[1:])
        cell = quantity(found.median, found.unit) if found else "-"
        rows.append((*row, cell, faster.get(figure.key[1:], "-")))
    columns = (*table.columns, f"{peer}, median", "times faster")
    return dataclasses.replace(table, columns=columns, rows=tuple(rows))


def _is_request(item: Figure | Ratio) -> bool:
    return item.condition.kind == "request"


def _decode_table(report: BenchReport) -> Table:
    """Steps against their floor, every runner."""
    floors = {(floor.mode, floor.condition): floor for floor in report.floors}
    rows = []
    for figure in report.figures:
        if figure.name not in (DECODE_STEP, PREFILL):
            continue
        floor = floors.get((figure.mode, figure.condition)) if figure.runner == _OURS else None
        is_decode = figure.name == DECODE_STEP
        rows.append(
            (
                figure.runner,
                f"{_labelled(figure)}, {figure.condition} ({', '.join(known_as(figure))})",
                *_statistics(figure),
                _rate(tokens_per_second(figure)),
                quantity(floor.num_bytes, "bytes") if floor and is_decode else "",
                f"{floor.reached:.0%}" if floor and is_decode else "",
                f"{floor.reached_of_best:.0%}" if floor and is_decode else "",
            )
        )
    columns = ("runner", "measured", *_STATISTICS, "tokens/s", "bytes/step", "of floor", "of best")
    return Table(title="Decode and prefill", columns=columns, rows=tuple(rows))


def memory_words(report: BenchReport) -> tuple[str, ...]:
    """For each number of threads how fast memory was read beside the rounds, and at best."""
    lines = []
    for threads in dict.fromkeys(floor.condition.threads or report.threads for floor in report.floors):
        floors = [floor for floor in report.floors if floor.condition.threads == threads]
        beside = [item.bandwidth / 1e9 for floor in floors for item in floor.rounds]
        best = max(floor.best_bandwidth for floor in floors) / 1e9
        lines.append(
            f"memory, {count_of_threads(threads)}: read at {statistics.median(beside):,.1f} GB/s beside the rounds "
            f"({min(beside):,.1f} to {max(beside):,.1f}), {best:,.1f} at best"
        )
    if lines:
        lines.append(
            "of floor: middle of the rounds, each against what was read beside it; of best: the median step against "
            "the best speed seen"
        )
    return tuple(lines)


def prefill_words(report: BenchReport) -> tuple[str, ...]:
    """How near each prefill came to the machine's rate of products of bytes, and which graph prompts took."""
    lines = [
        f"arithmetic, {floor.condition}: the linears' {floor.operations / 1e9:,.0f} G operations take "
        f"{quantity(floor.floor_s, 's')} at the {floor.int8_rate / 1e9:,.0f} G/s of int8 products here; "
        f"{floor.reached:.0%} of that speed was reached"
        for floor in report.arithmetic
    ]
    if report.prefill_threshold is not None:
        words = f"from {report.prefill_threshold:,} positions on" if report.prefill_threshold else "at no length"
        lines.append(f"graph for prefill: faster {words}, as measured on this machine")
    return tuple(lines)


def _labelled(item: Figure | Ratio) -> str:
    if item.mode == "text" or _is_request(item):
        return item.name
    return f"{item.name}, {item.mode} adapter"


def tokens_per_second(figure: Figure) -> float:
    """Of a decode step or a prefill, at the median."""
    tokens = figure.condition.tokens if figure.name == PREFILL else None
    return (tokens or 1) / figure.median


def _rate(value: float) -> str:
    """Three digits: more do not hold from one run to the next."""
    return quantity(value, "tokens/s").removesuffix(" tokens/s")


def _other_table(report: BenchReport) -> Table:
    figures = [
        figure for figure in report.figures if figure.name not in (DECODE_STEP, PREFILL) and not _is_request(figure)
    ]

    def label(figure: Figure) -> tuple[str, str]:
        mode = f"{figure.mode}, " if figure.name.startswith("peak") else ""
        condition = f" ({mode}{figure.condition})".replace(", )", ")")
        return figure.runner, _named(figure) + condition

    return figure_table("Load, memory and energy", figures, label=label, columns=("runner", "measured"))


def _ratio_table(report: BenchReport) -> Table:
    rows = tuple(
        (
            ratio.peer,
            f"{_labelled(ratio)}, {ratio.condition}",
            ratio.of,
            f"{ratio.median:.2f}",
            f"{min(ratio.samples):.2f} - {max(ratio.samples):.2f}",
        )
        for ratio in report.ratios
    )
    columns = ("peer", "measured", "rounds compared by", "times faster, median", "over the rounds")
    title = "Against peers, measured in turn (above 1: edgephi is faster)"
    return Table(title=title, columns=columns, rows=rows, text_columns=3)


_STATISTICS = ("min", "median", "mean", "sd", "p90", "p99", "samples")


def _statistics(figure: Figure) -> tuple[str, ...]:
    """Cells of a figure; what so few samples do not show is empty."""
    if len(figure.samples) == 1:
        return ("", quantity(figure.median, figure.unit), *[""] * 4, "1")
    numbers = (figure.min, figure.median, figure.mean, figure.sd, figure.p90, figure.p99)
    cells = ("" if number is None else quantity(number, figure.unit) for number in numbers)
    return (*cells, str(len(figure.samples)))


def _named(figure: Figure) -> str:
    """Its name, with the words that people look for."""
    others = known_as(figure)
    return f"{figure.name} ({', '.join(others)})" if others else figure.name


def figure_table(
    title: str, figures: list[Figure], *, label: Callable[[Figure], tuple[str, ...]], columns: tuple[str, ...]
) -> Table:
    """A table with the statistics of each figure behind its labels."""
    rows = tuple((*label(figure), *_statistics(figure)) for figure in figures)
    return Table(title=title, columns=(*columns, *_STATISTICS), rows=rows, text_columns=len(columns))


def remarks(report: BenchReport) -> tuple[str, ...]:
    """One line each: greedy output, peers, what was left out."""
    lines = []
    if report.output:
        lines.append(f"greedy output: {report.output.tokens} tokens, sha256 {report.output.sha256[:16]}")
    lines += _machine_lines(report)
    for peer in report.peers:
        version = f" {peer.version}" if peer.version else ""
        lines.append(f"{peer.name}{version}: " + (f"not measured: {peer.error}" if peer.error else "measured"))
    by = {of: {(item.peer, item.name) for item in report.ratios if item.of == of} for of in ("medians", "means")}
    lines += [
        f"{peer}: reports only the mean of a round's steps, so the means are compared; a stall counts in either"
        for peer, _ in sorted(by["means"] - by["medians"])
    ]
    return (*lines, *memory_words(report), *prefill_words(report), *report.notes)


def _machine_lines(report: BenchReport) -> list[str]:
    """A/A level, other programs' work, clock, temperature, energy: what the figures are to be read with."""
    lines = [
        f"A/A level: {len(item.processes)} processes of the same program differ by up to {item.spread:.1%} in "
        f"{item.name}, {item.condition}"
        for item in report.repeats
    ]
    conditions = [item.conditions for item in report.rounds]
    if warning := busy_warning(conditions, report.environment.cores):
        lines.append(warning)
    for what, unit, values in (
        ("clock", "MHz", [item.mhz for item in conditions if item.mhz is not None]),
        ("temperature", "\N{DEGREE SIGN}C", [item.celsius for item in conditions if item.celsius is not None]),
    ):
        if values:
            lines.append(
                f"{what}: {values[0]:,.0f} {unit} after the first round, {values[-1]:,.0f} after the last "
                f"({min(values):,.0f} to {max(values):,.0f})"
            )
    if report.energy_source:
        lines.append(f"energy: of {report.energy_source}, other programs' part included")
    return lines


def heading(report: BenchReport) -> str:
    """Which model, and in how much memory where that was limited."""
    limit = report.memory_limit_bytes
    memory = "" if limit is None else f"at most {quantity(limit, 'bytes')} of memory, "
    return (
        f"{report.model.path}: {report.model.source}, recipe {report.model.recipe}, {report.kv_cache} cache, {memory}"
        f"device {report.device}, manifest {report.model.manifest_sha256[:12]}"
    )


def environment_facts(environment: Environment) -> tuple[str, ...]:
    """The machine, the versions and the command, a few words each."""
    sets = " ".join(environment.instruction_sets)
    return (
        f"{environment.cpu}, {environment.cores} hardware threads, {environment.memory_bytes / 1e9:,.1f} GB",
        f"instruction sets {sets or 'unknown'}; governor {environment.governor or 'unknown'}",
        f"{environment.system}; Python {environment.python}; "
        + ", ".join(f"{item.name} {item.version}" for item in environment.versions),
    )
