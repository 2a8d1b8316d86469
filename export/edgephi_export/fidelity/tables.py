"""A report as rows of text: what the terminal, Markdown and the page show alike."""

from __future__ import annotations

from collections.abc import Iterator

from edgephi.base.units import human_bytes
from edgephi.console.tables import Table, markdown_table
from edgephi_export.fidelity.estimates import Estimate, Interval
from edgephi_export.fidelity.report import FidelityReport, ModeFigures, ModelFidelity, TaskFigures
from edgephi_export.fidelity.subject import FolderFacts


def tables(report: FidelityReport) -> tuple[Table, ...]:
    """The tables of a report, without those that have no rows."""
    found = (overview(report), _forced(report), _free(report), _tasks(report), _lengths(report), _parts(report))
    return tuple(table for table in found if table.rows)


def overview(report: FidelityReport) -> Table:
    """One row for each folder, the reference first."""
    first = report.models[0]
    modes, groups = [one.mode for one in first.modes], [one.group for one in first.tasks]
    columns = (
        *("folder", "recipe", "size", "bits/weight", "step"),
        *(f"{group}, errors" for group in groups),
        *(f"KL {mode}" for mode in modes),
        *("lowest top-1", "loops", "tokens/s"),
    )
    rows = [_reference_row(report.reference, first), *map(_model_row, report.models)]
    return Table(title="Overview", columns=columns, rows=tuple(rows))


def _reference_row(folder: FolderFacts, first: ModelFidelity) -> tuple[str, ...]:
    return (
        *_folder_cells(folder),
        *(interval(one.reference_error_rate) for one in first.tasks),
        *(number(one.noise.kl) for one in first.modes),
        percent(min(one.noise.top1 for one in first.modes)),
        percent(_over_replies([(one.examples, one.free.reference_loop_rate) for one in first.modes])),
        _rate(first.modes[0].free.reference_decode_tok_s),
    )


def _model_row(model: ModelFidelity) -> tuple[str, ...]:
    return (
        *_folder_cells(model.folder),
        *(interval(one.error_rate) for one in model.tasks),
        *(number(one.forced.kl.value) for one in model.modes),
        percent(min(one.forced.top1.value for one in model.modes)),
        percent(_over_replies([(one.examples, one.free.loop_rate) for one in model.modes])),
        _rate(model.modes[0].free.decode_tok_s),
    )


def _folder_cells(folder: FolderFacts) -> tuple[str, ...]:
    recipe = folder.recipe if folder.method is None else f"{folder.recipe}, {folder.method}"
    return (
        folder.name,
        recipe,
        human_bytes(folder.bytes),
        f"{folder.bits_per_weight:.2f}",
        human_bytes(folder.steps[0].bytes),
    )


def _over_replies(shares: list[tuple[int, float]]) -> float:
    return sum(count * share for count, share in shares) / sum(count for count, _ in shares)


def _forced(report: FidelityReport) -> Table:
    columns = (
        "folder", "mode", "positions", "KL mean", "median", "95 %", "99 %", "99.9 %", "max", "top-1",
        "perplexity ratio", "noise KL",
    )  # fmt: skip
    rows = tuple(
        (
            folder,
            one.mode,
            f"{one.forced.positions:,}",
            estimate(one.forced.kl),
            *(number(tail) for tail in (one.forced.kl_median, one.forced.kl_p95, one.forced.kl_p99)),
            *(number(tail) for tail in (one.forced.kl_p999, one.forced.kl_max)),
            _percent_estimate(one.forced.top1),
            _ratio(one.forced.perplexity_ratio),
            number(one.noise.kl),
        )
        for folder, one in _modes(report)
    )
    return Table(title="Teacher-forced", columns=columns, rows=rows)


def _free(report: FidelityReport) -> Table:
    columns = (
        "folder", "mode", "replies", "exact match", "common prefix", "loops", "reference's", "no end", "reference's",
        "tokens/s", "reference's",
    )  # fmt: skip
    rows = tuple(
        (
            folder,
            one.mode,
            f"{one.examples:,}",
            _percent_estimate(one.free.exact_match),
            percent(one.free.common_prefix.value),
            percent(one.free.loop_rate),
            percent(one.free.reference_loop_rate),
            percent(one.free.missing_end),
            percent(one.free.reference_missing_end),
            _rate(one.free.decode_tok_s),
            _rate(one.free.reference_decode_tok_s),
        )
        for folder, one in _modes(report)
    )
    return Table(title="Free-running", columns=columns, rows=rows)


def _tasks(report: FidelityReport) -> Table:
    columns = ("folder", "set", "measure", "replies", "KL", "S / D / I", "errors", "reference's", "increase")
    rows = tuple(
        (
            folder,
            one.group,
            one.measure,
            f"{one.examples:,}",
            estimate(one.kl),
            f"{one.substitutions} / {one.deletions} / {one.insertions}",
            interval(one.error_rate),
            percent(one.reference_error_rate.value),
            interval(one.increase, signed=True),
        )
        for folder, one in _sets(report)
    )
    return Table(title="Tasks, with 95 % bootstrap intervals", columns=columns, rows=rows, text_columns=3)


def _lengths(report: FidelityReport) -> Table:
    rows = tuple(
        (
            folder,
            one.group,
            "longer" if length.up_to_s is None else f"up to {length.up_to_s:g} s",
            f"{length.examples:,}",
            percent(length.error_rate),
            percent(length.reference_error_rate),
        )
        for folder, one in _sets(report)
        for length in one.by_length
    )
    columns = ("folder", "set", "audio", "replies", "errors", "reference's")
    return Table(title="Errors by length of the audio", columns=columns, rows=rows, text_columns=3)


def _parts(report: FidelityReport) -> Table:
    modes = [one.mode for one in report.models[0].modes]
    rows = tuple(
        (model.folder.name, part.name, str(part.tensors), human_bytes(part.bytes), *(number(one.kl) for one in part.kl))
        for model in report.models
        for part in model.parts
    )
    columns = ("folder", "part", "tensors", "size", *(f"KL {mode}" for mode in modes))
    return Table(title="The reference with one part quantized alone", columns=columns, rows=rows)


def _modes(report: FidelityReport) -> Iterator[tuple[str, ModeFigures]]:
    return ((model.folder.name, one) for model in report.models for one in model.modes)


def _sets(report: FidelityReport) -> Iterator[tuple[str, TaskFigures]]:
    return ((model.folder.name, one) for model in report.models for one in model.tasks)


def as_markdown(report: FidelityReport) -> str:
    """Every table of a report under its title."""
    return "\n".join(f"## {table.title}\n\n{markdown_table(table)}\n" for table in tables(report))


def number(value: float) -> str:
    """Two digits that count; of KL."""
    return "0" if value == 0 else f"{value:.2g}" if abs(value) >= 1e-4 else f"{value:.1e}"


def percent(value: float) -> str:
    """A share in per cent."""
    return f"{value:.1%}"


def estimate(value: Estimate) -> str:
    """A mean and its standard error."""
    return number(value.value) + ("" if value.error is None else f" ± {number(value.error)}")


def interval(value: Interval, *, signed: bool = False) -> str:
    """A share and its interval in per cent."""
    sign = "+" if signed else ""
    return f"{value.value:{sign}.1%} [{100 * value.low:{sign}.1f}, {100 * value.high:{sign}.1f}]"


def _percent_estimate(value: Estimate) -> str:
    return percent(value.value) + ("" if value.error is None else f" ± {100 * value.error:.1f}")


def _ratio(value: Estimate) -> str:
    return f"{value.value:.4f}" + ("" if value.error is None else f" ± {value.error:.4f}")


def _rate(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}" if value >= 100 else f"{value:.1f}"
