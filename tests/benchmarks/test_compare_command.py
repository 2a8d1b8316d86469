"""`edgephi bench compare`: the exit code is what a nightly job goes by."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edgephi.cli.main import CommandGroup
from edgephi_bench.cli import bench
from edgephi_bench.figures import Figure
from edgephi_bench.latency_report import BenchReport, Sentinel, read_report, report_json
from support.reports import report

group = CommandGroup("edgephi")
group.get_command = lambda ctx, name: bench  # type: ignore[method-assign]


def _written(path: Path, content: BenchReport) -> Path:
    path.write_text(json.dumps(report_json(content)))
    return path


def _scaled(name: str, factor: float) -> BenchReport:
    """The report with one figure's samples multiplied."""
    base = report()
    return dataclasses.replace(
        base,
        figures=tuple(
            dataclasses.replace(figure, samples=tuple(sample * factor for sample in figure.samples))
            if figure.name == name
            else figure
            for figure in base.figures
        ),
    )


def _compare(tmp_path: Path, before: BenchReport, after: BenchReport, *options: str) -> Result:
    paths = [str(_written(tmp_path / name, content)) for name, content in (("a.json", before), ("b.json", after))]
    return CliRunner().invoke(group, ["bench", "compare", *paths, *options])


def test_a_report_comes_back_as_it_was_written(tmp_path: Path) -> None:
    assert read_report(_written(tmp_path / "a.json", report())) == report()


@pytest.mark.parametrize(
    ("factor", "options", "code"),
    [
        (1.0, (), 0),
        (1.04, (), 0),
        (1.06, (), 1),
        (1.06, ("--fail-over", "10%"), 0),
        (1.06, ("--fail-over", "1"), 1),
        (0.5, (), 0),
    ],
)
def test_the_exit_code_is_1_where_a_median_lost_more_than_the_limit(
    tmp_path: Path, factor: float, options: tuple[str, ...], code: int
) -> None:
    result = _compare(tmp_path, report(), _scaled("load, warm", factor), *options)
    assert result.exit_code == code, result.output
    assert ("became worse" in result.stderr) == bool(code)


def test_more_of_a_good_thing_is_no_regression(tmp_path: Path) -> None:
    def with_rate(value: float) -> BenchReport:
        rate = Figure(name="rate", unit="tokens/s", better="more", samples=(value,))
        return report(figures=(rate,))

    assert _compare(tmp_path, with_rate(10), with_rate(20)).exit_code == 0
    assert _compare(tmp_path, with_rate(20), with_rate(10)).exit_code == 1


def test_facts_are_not_judged(tmp_path: Path) -> None:
    assert _compare(tmp_path, report(), _scaled("prompt positions", 3.0)).exit_code == 0


def test_a_peer_that_became_slower_is_not_our_regression(tmp_path: Path) -> None:
    peer = Figure(runner="llama.cpp", name="prefill", samples=(1.0,))
    slower = dataclasses.replace(peer, samples=(2.0,))
    assert _compare(tmp_path, report(figures=(peer,)), report(figures=(slower,))).exit_code == 0


def test_another_greedy_output_is_a_failure(tmp_path: Path) -> None:
    result = _compare(tmp_path, report(), report(output=Sentinel(sha256="00" * 32, tokens=7)))
    assert result.exit_code == 1
    assert "greedy output" in result.stderr


@pytest.mark.parametrize("what", ["model", "cpu", "threads", "kv_cache"])
def test_reports_of_different_models_or_machines_are_refused_unless_forced(tmp_path: Path, what: str) -> None:
    base = report()
    other = {
        "model": {"model": dataclasses.replace(base.model, manifest_sha256="00" * 32)},
        "cpu": {"environment": dataclasses.replace(base.environment, cpu="Another")},
        "threads": {"threads": 4},
        "kv_cache": {"kv_cache": "int8"},
    }[what]
    refused = _compare(tmp_path, base, report(**other))
    assert refused.exit_code == 2
    assert "different" in refused.stderr
    assert refused.stdout == ""
    assert _compare(tmp_path, base, report(**other), "--force").exit_code == 0


def test_json_has_every_change_and_what_only_one_report_has(tmp_path: Path) -> None:
    base = report()
    result = _compare(tmp_path, base, report(figures=base.figures[1:]), "--json")
    content = json.loads(result.stdout)
    assert len(content["changes"]) == len(base.figures) - 1
    assert content["only_before"] == ["edgephi, text, decode step, depth 0, 2 threads"]


def test_a_report_of_another_version_is_refused_with_both_versions(tmp_path: Path) -> None:
    good, old = _written(tmp_path / "a.json", report()), tmp_path / "old.json"
    old.write_text(json.dumps(json.loads(good.read_text()) | {"report_version": 1}))
    for command in (["compare", str(old), str(good)], ["show", str(old)]):
        result = CliRunner().invoke(group, ["bench", *command])
        assert (result.exit_code, result.stdout) == (3, "")
        assert "version 1; only 2 is read" in result.stderr


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"report_version": 99}', '{"report_version": 2, "figures": [1]}'])
def test_what_is_no_report_is_refused(tmp_path: Path, text: str) -> None:
    good, bad = _written(tmp_path / "a.json", report()), tmp_path / "b.json"
    bad.write_text(text)
    result = CliRunner().invoke(group, ["bench", "compare", str(good), str(bad)])
    assert result.exit_code == 3
    assert str(bad) in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_percentage_that_is_none_is_a_usage_error(tmp_path: Path) -> None:
    assert _compare(tmp_path, report(), report(), "--fail-over", "much").exit_code == 2
