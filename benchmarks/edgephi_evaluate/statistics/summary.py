"""What a run says of one suite: quality with intervals, published figures beside it, speed and memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgephi.base.errors import ConfigError
from edgephi_evaluate.runs.folder import RunFile
from edgephi_evaluate.runs.record import ItemRecord
from edgephi_evaluate.statistics.bootstrap import Estimate, Resamples, resample
from edgephi_evaluate.suite import Published, Suite

MOST_FAILED = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A published figure beside ours.

    Attributes:
        value: What was published.
        source: By whom and when.
        difference: Ours less theirs.
        is_outside: Whether it lies outside our interval.
    """

    value: float
    source: str
    difference: float
    is_outside: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PartSummary:
    """The figure of one part; of the suite where the name is empty."""

    part: str
    items: int
    failed: int
    estimate: Estimate
    published: Comparison | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """How fast the answers came; None where it was not reported.

    Attributes:
        latency_p50_s: Half of the answers took at most so long.
        latency_p95_s: Nineteen of twenty.
        rtfx: Seconds of audio for each second of work, preprocessing included.
        decode_tok_s: Tokens after the first, for each second of decoding.
        peak_rss_bytes: Most memory of the engine's process.
        energy_j: Of the machine, for each item.
    """

    latency_p50_s: float | None
    latency_p95_s: float | None
    rtfx: float | None
    decode_tok_s: float | None
    peak_rss_bytes: int | None
    energy_j: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteSummary:
    """What a report shows of one suite of a run.

    Attributes:
        suite: Its name.
        metric: What the figures are.
        metric_name: Short.
        is_error: Whether lower is better.
        whole: Over all parts.
        parts: Where there are several.
        missing: Items without an answer yet.
        change: The suite's figure less that of the baseline, on the items of both; None without a baseline.
        shared: Items of both.
        speed: Of the answers.
        notes: What the figures are to be read with.
        run: What was asked and by what.
    """

    suite: str
    metric: str
    metric_name: str
    is_error: bool
    whole: PartSummary
    parts: tuple[PartSummary, ...]
    missing: int
    change: Estimate | None
    shared: int
    speed: Speed
    notes: tuple[str, ...]
    run: RunFile

    @property
    def too_many_failed(self) -> bool:
        """More than 1 % of the items: the figures are not to be trusted."""
        return self.whole.failed > MOST_FAILED * self.whole.items


def summarize(
    suite: Suite, run: RunFile, records: Sequence[ItemRecord], baseline: Sequence[ItemRecord] | None = None
) -> SuiteSummary:
    """The summary of a suite's answers.

    Args:
        suite: Whose metric is used.
        run: Of the answers.
        records: The answers, one or more.
        baseline: Those of a run to compare with; None for none.

    Raises:
        ConfigError: There are no answers yet, or the baseline has none of the same items.
    """
    if not records:
        raise ConfigError(f"{suite.name}: no answers yet; let the run go on")
    figures = _resampled(suite, records)
    names = figures.parts if len(figures.parts) > 1 else ()
    shared, change = (0, None) if baseline is None else _change(suite, records, baseline)
    return SuiteSummary(
        suite=suite.name,
        metric=suite.metric.words,
        metric_name=suite.metric.name,
        is_error=suite.metric.is_error,
        whole=_part(suite, "", records, figures.whole()),
        parts=tuple(_part(suite, name, [r for r in records if r.part == name], figures.part(name)) for name in names),
        missing=max(run.identity.suite.items - len(records), 0),  # the harness does not say beforehand how many
        change=change,
        shared=shared,
        speed=speed(records),
        notes=suite.notes,
        run=run,
    )


def _resampled(suite: Suite, records: Sequence[ItemRecord]) -> Resamples:
    return resample(records, suite.metric, is_mean_of_parts=suite.overall == "mean")


def _part(suite: Suite, name: str, records: Sequence[ItemRecord], estimate: Estimate) -> PartSummary:
    published = next((one for one in suite.published if one.part == name), None)
    return PartSummary(
        part=name,
        items=len(records),
        failed=sum(record.error is not None for record in records),
        estimate=estimate,
        published=None if published is None else _compared(estimate, published),
    )


def _compared(ours: Estimate, theirs: Published) -> Comparison:
    is_outside = ours.low is not None and ours.high is not None and not ours.low <= theirs.value <= ours.high
    return Comparison(
        value=theirs.value, source=theirs.source, difference=ours.value - theirs.value, is_outside=is_outside
    )


def _change(suite: Suite, records: Sequence[ItemRecord], baseline: Sequence[ItemRecord]) -> tuple[int, Estimate]:
    """On the items that both have, each group drawn for both at once."""
    common = {record.id for record in records} & {record.id for record in baseline}
    if not common:
        raise ConfigError(f"{suite.name}: the baseline has none of the run's items; compare runs on the same data")
    ours, theirs = (
        _resampled(suite, [record for record in side if record.id in common]) for side in (records, baseline)
    )
    return len(common), ours.less(theirs)


def speed(records: Sequence[ItemRecord]) -> Speed:
    """Of the items that were answered."""
    timed = [(record, record.seconds) for record in records if record.seconds is not None]
    totals = [seconds.total for _, seconds in timed]
    audio = [(record.audio_s, seconds.total) for record, seconds in timed if record.audio_s is not None]
    decoded = [
        (record.new_tokens - 1, seconds.decode)
        for record, seconds in timed
        if record.new_tokens is not None and record.new_tokens > 1 and seconds.decode
    ]
    energy = [record.energy_j for record in records if record.energy_j is not None]
    return Speed(
        latency_p50_s=float(np.percentile(totals, 50)) if totals else None,
        latency_p95_s=float(np.percentile(totals, 95)) if totals else None,
        rtfx=sum(one for one, _ in audio) / sum(one for _, one in audio) if audio else None,
        decode_tok_s=sum(one for one, _ in decoded) / sum(one for _, one in decoded) if decoded else None,
        peak_rss_bytes=max((record.peak_rss_bytes or 0 for record in records), default=0) or None,
        energy_j=sum(energy) / len(energy) if energy else None,
    )
