"""Intervals must cover as they say, a change be paired, and a figure outside what was published be named."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from edgephi.base.errors import ConfigError
from edgephi_evaluate.metrics.words import WordErrors
from edgephi_evaluate.report.runs import read_reports
from edgephi_evaluate.report.tables import as_markdown
from edgephi_evaluate.runs.record import ItemRecord
from edgephi_evaluate.statistics.bootstrap import resample
from edgephi_evaluate.statistics.requirement import parse_requirement
from edgephi_evaluate.statistics.summary import summarize
from edgephi_evaluate.suite import Published
from edgephi_evaluate.suites.registry import SUITES, find_suite
from support.evaluation import SUITE, ScriptedEngine, run, write_items


def _record(number: int, errors: float, words: float = 10, **fields: object) -> ItemRecord:
    values = {"id": str(number), "group": str(number), "part": "", "prompt": "", "reply": "", "finish_reason": "stop"}
    return ItemRecord(**{**values, "counts": (errors, words), **fields})


def _records(rng: np.random.Generator, count: int = 150) -> list[ItemRecord]:
    return [_record(n, rng.binomial(10, 0.1)) for n in range(count)]


def test_an_interval_covers_the_truth_about_nineteen_times_in_twenty():
    rng = np.random.default_rng(1)
    found = [resample(_records(rng), WordErrors(), is_mean_of_parts=False).whole() for _ in range(60)]
    covered = sum(one.low <= 10.0 <= one.high for one in found)
    assert 52 <= covered <= 60
    assert np.std([one.value for one in found]) == pytest.approx(
        np.mean([(o.high - o.low) / 3.92 for o in found]), rel=0.3
    )


def test_items_of_one_group_make_the_interval_wider():
    rng = np.random.default_rng(2)
    alone = [_record(n, 10 * (n // 10 % 2)) for n in range(200)]
    grouped = [dataclasses.replace(one, group=str(number // 10)) for number, one in enumerate(alone)]
    widths = [
        (one.high - one.low)
        for one in (resample(records, WordErrors(), is_mean_of_parts=False).whole() for records in (alone, grouped))
    ]
    assert widths[1] > 2.5 * widths[0]
    assert rng is not None


def test_a_mean_of_parts_weighs_parts_alike_and_pooling_weighs_words():
    records = [_record(n, 5, part="a") for n in range(30)] + [_record(100 + n, 0, part="b") for n in range(10)]
    assert resample(records, WordErrors(), is_mean_of_parts=True).whole().value == 25
    assert resample(records, WordErrors(), is_mean_of_parts=False).whole().value == 37.5


def test_one_group_has_no_interval():
    one = resample([_record(1, 1)], WordErrors(), is_mean_of_parts=False).whole()
    assert (one.value, one.low, one.high) == (10, None, None)


def test_a_change_is_paired_on_the_items_of_both():
    rng = np.random.default_rng(3)
    before = _records(rng, 300)
    after = [
        dataclasses.replace(one, counts=(one.counts[0] + (number % 50 == 0), 10)) for number, one in enumerate(before)
    ]
    run_file = None
    suite = find_suite(SUITE)
    less, more = (resample(side, WordErrors(), is_mean_of_parts=False) for side in (before, after))
    change = more.less(less)
    assert change.value == pytest.approx(0.2)
    assert 0 < change.low < 0.2 < change.high < 0.45  # unpaired, it would be 1.4 wide
    assert suite.metric.name == "wer"
    assert run_file is None


def _report(tmp_path: Path, baseline: Path | None = None) -> object:
    spoil = ScriptedEngine(lambda number, text: text.replace(" b", "") if number % 3 == 0 else text)
    folder = run(spoil, write_items(tmp_path / "data"), tmp_path / "run")
    return read_reports((folder,), baseline)


def test_a_published_figure_outside_the_interval_is_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    suite = find_suite(SUITE)
    published = (Published(value=2.0, source="a paper"), Published(value=8.0, source="another", part="a"))
    monkeypatch.setitem(SUITES, SUITE, dataclasses.replace(suite, published=published))
    reports = _report(tmp_path)
    (summary,) = reports[0].summaries
    assert summary.whole.estimate.value == pytest.approx(100 * 14 / 160)
    assert summary.whole.published.is_outside
    assert summary.whole.published.difference == pytest.approx(summary.whole.estimate.value - 2.0)
    assert not summary.parts[0].published.is_outside
    text = as_markdown(reports)
    assert "| 2.00 | +6.75 | outside the interval |" in text
    assert "within the interval" in text
    assert "published by a paper" in text


def test_requirements_are_judged_at_the_far_end(tmp_path: Path):
    baseline = run(ScriptedEngine(), write_items(tmp_path / "data"), tmp_path / "baseline")
    summaries = _report(tmp_path, baseline)[0].summaries
    (one,) = summaries
    high = one.whole.estimate.high
    assert parse_requirement(f"wer<={high + 0.1:.2f}").failures(summaries) == []
    (words,) = parse_requirement(f"wer<={one.whole.estimate.value:.2f}").failures(summaries)
    assert "the high end of its interval" in words
    assert one.change.value == pytest.approx(8.75)
    assert one.shared == 40
    assert parse_requirement(f"{SUITE}.wer<=+{one.change.high + 0.1:.2f}").failures(summaries) == []
    assert parse_requirement("wer<=+0.3").failures(summaries) != []
    assert parse_requirement("wer>=-1").failures(summaries) == []
    with pytest.raises(ConfigError, match=r"no such figure; it has items:wer-raw\.wer"):
        parse_requirement("bleu>=3").failures(summaries)
    with pytest.raises(ConfigError, match="needs --baseline"):
        parse_requirement("wer<=+0.3").failures(_report(tmp_path)[0].summaries)
    for wrong in ("wer<6", "wer<=", "<=3", "wer<=x"):
        with pytest.raises(ConfigError, match="write METRIC<=NUMBER"):
            parse_requirement(wrong)


def test_speed_is_of_the_items_that_were_answered(tmp_path: Path):
    speed = _report(tmp_path)[0].summaries[0].speed
    assert (speed.latency_p50_s, speed.latency_p95_s, speed.decode_tok_s, speed.peak_rss_bytes) == (0.5, 0.5, 20, 1000)
    assert speed.rtfx is None


def test_a_baseline_on_other_data_is_refused(tmp_path: Path):
    records, other = [_record(1, 1)], [_record(2, 1)]
    with pytest.raises(ConfigError, match="none of the run's items"):
        summarize(find_suite(SUITE), None, records, other)
    with pytest.raises(ConfigError, match="no answers yet"):
        summarize(find_suite(SUITE), None, [])
