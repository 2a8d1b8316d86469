"""Measured conversions as a table for people and as one object for programs."""

from __future__ import annotations

import dataclasses
import shlex
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgephi.console.report import one_line
from edgephi_bench.conversion.run import Measurement, Sample
from edgephi_bench.measure.environment import Environment

if TYPE_CHECKING:
    from rich.table import Table

_PIPE_WIDTH = 140  # columns where there is no terminal to ask


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionReport:
    """Everything about one `bench export`.

    Attributes:
        checkpoint: What was converted.
        checkpoint_bytes: Of its weight files.
        runs: Conversions per converter.
        measurements: One per converter.
        environment: Where.
    """

    checkpoint: Path
    checkpoint_bytes: int
    runs: int
    measurements: tuple[Measurement, ...]
    environment: Environment

    def rate(self, sample: Sample) -> float:
        """Megabytes of checkpoint per second."""
        return self.checkpoint_bytes / 1e6 / sample.usage.seconds


def report_json(report: ConversionReport) -> dict[str, Any]:
    """The report as JSON values: every sample, and the medians where there are samples."""
    return {
        "checkpoint": {"path": str(report.checkpoint), "bytes": report.checkpoint_bytes},
        "runs": report.runs,
        "results": [_measurement_json(report, measurement) for measurement in report.measurements],
        "environment": dataclasses.asdict(report.environment)
        | {"versions": {item.name: item.version for item in report.environment.versions}},
    }


def _measurement_json(report: ConversionReport, measurement: Measurement) -> dict[str, Any]:
    samples = [
        dataclasses.asdict(sample.usage)
        | {"output_bytes": sample.output_bytes, "checkpoint_mb_per_s": report.rate(sample)}
        for sample in measurement.samples
    ]
    names = samples[0] if samples else ()
    return {
        "name": measurement.name,
        "version": measurement.version,
        "command": measurement.command,
        "error": measurement.error,
        "outputs": measurement.outputs,
        "median": {name: statistics.median(sample[name] for sample in samples) for name in names} or None,
        "samples": samples,
    }


def print_report(report: ConversionReport) -> None:
    """Print the table, the commands and the environment on stdout."""
    from rich.console import Console  # noqa: PLC0415 - keeps --help fast

    console = Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH, highlight=False, soft_wrap=True)
    console.print(f"{report.checkpoint}: {_megabytes(report.checkpoint_bytes)} MB of weights", markup=False)
    console.print(_table(report), soft_wrap=False)
    for measurement in report.measurements:
        if measurement.error:
            console.print(f"{measurement.name}: not measured: {one_line(measurement.error)}", markup=False)
        if measurement.command:
            console.print(f"{measurement.name}: {shlex.join(measurement.command)}", markup=False)
        for output in measurement.outputs:
            console.print(f"{measurement.name}: kept {output}", markup=False)
    console.print(_environment_line(report.environment), markup=False)


def _table(report: ConversionReport) -> Table:
    from rich.table import Table  # noqa: PLC0415 - keeps --help fast

    title = f"median of {report.runs} runs" if report.runs > 1 else None
    table = Table(title=title)
    table.add_column("converter")
    for name in ("version", "time s", "peak memory MB", "from disk MB", "to disk MB", "folder MB", "checkpoint MB/s"):
        table.add_column(name, justify="right")
    for measurement in report.measurements:
        table.add_row(measurement.name, measurement.version or "-", *_cells(report, measurement))
    return table


def _cells(report: ConversionReport, measurement: Measurement) -> list[str]:
    if not measurement.samples:
        return ["-"] * 6
    counts: tuple[Callable[[Sample], float], ...] = (
        lambda sample: sample.usage.peak_bytes,
        lambda sample: sample.usage.disk_read_bytes,
        lambda sample: sample.usage.disk_written_bytes,
        lambda sample: sample.output_bytes,
    )
    return [
        _seconds(measurement),
        *(_megabytes(measurement.median(count)) for count in counts),
        f"{measurement.median(report.rate):,.1f}",
    ]


def _seconds(measurement: Measurement) -> str:
    """The median, and the whole range where there are several runs."""
    seconds = [sample.usage.seconds for sample in measurement.samples]
    median = f"{measurement.median(lambda sample: sample.usage.seconds):,.2f}"
    return f"{median} ({min(seconds):,.2f}-{max(seconds):,.2f})" if len(seconds) > 1 else median


def _megabytes(count: float) -> str:
    return f"{count / 1e6:,.1f}"


def _environment_line(environment: Environment) -> str:
    versions = ", ".join(f"{item.name} {item.version}" for item in environment.versions)
    return (
        f"{environment.cpu}, {environment.cores} cores, {environment.memory_bytes / 1e9:,.1f} GB; "
        f"{environment.system}; Python {environment.python}{', ' if versions else ''}{versions}"
    )
