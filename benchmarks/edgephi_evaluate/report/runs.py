"""Runs with their summaries and answers, for tables and pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgephi_evaluate.runs.folder import read_records, read_run, suite_folders
from edgephi_evaluate.runs.record import ItemRecord
from edgephi_evaluate.statistics.summary import SuiteSummary, summarize
from edgephi_evaluate.suites.registry import find_suite


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """One run.

    Attributes:
        path: Its folder.
        summaries: Of its suites.
        records: The answers of each suite.
    """

    path: Path
    summaries: tuple[SuiteSummary, ...]
    records: tuple[tuple[ItemRecord, ...], ...]

    @property
    def name(self) -> str:
        """For headings."""
        return self.path.resolve().name


def read_reports(runs: Sequence[Path], baseline: Path | None, suites: Sequence[str] = ()) -> tuple[RunReport, ...]:
    """Read runs and summarize them.

    Args:
        runs: Their folders.
        baseline: A run to compare each with; suites that it lacks are not compared.
        suites: Of which to report; all where there are none.

    Raises:
        ArtifactError: A run is damaged.
        ConfigError: A suite is not known, or has no answers.
    """
    before = {} if baseline is None else {read_run(one).identity.suite.name: one for one in suite_folders(baseline)}
    return tuple(_report(run, before, suites) for run in runs)


def _report(path: Path, baselines: dict[str, Path], suites: Sequence[str]) -> RunReport:
    summaries, answers = [], []
    for folder in suite_folders(path):
        run = read_run(folder)
        name = run.identity.suite.name
        if suites and name not in suites:
            continue
        records = read_records(folder)
        before = read_records(baselines[name]) if name in baselines else None
        summaries.append(summarize(find_suite(name), run, records, before))
        answers.append(tuple(records))
    return RunReport(path=path, summaries=tuple(summaries), records=tuple(answers))
