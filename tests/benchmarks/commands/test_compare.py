"""`edgephi bench compare`: the exit code is what a nightly job goes by."""

from __future__ import annotations

import dataclasses
import json
import re
import venv
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from edgephi.cli.main import CommandGroup
from edgephi_bench.commands.main import bench
from edgephi_bench.comparison import paired
from edgephi_bench.latency.report import BenchReport, GreedyOutput, read_report, report_json
from edgephi_bench.measure.condition import Condition
from edgephi_bench.measure.measurement import Figure
from support.bundles import small_bundle
from support.reports import report

group = CommandGroup("edgephi")
group.get_command = lambda ctx, name: bench  # type: ignore[method-assign]


def _written(path: Path, content: BenchReport) -> Path:
    path.write_text(json.dumps(report_json(content)))
    return path


def _steady() -> BenchReport:
    """The report with enough loads to decide on a change."""
    loads = Figure(
        name="load, warm",
        condition=Condition(kind="load", threads=2),
        samples=(1.50, 1.51, 1.49, 1.50, 1.52, 1.49, 1.51, 1.50),
    )
    return report(figures=(loads, *(figure for figure in report().figures if figure.key != loads.key)))


def _scaled(name: str, factor: float) -> BenchReport:
    """The report with one figure's samples multiplied."""
    base = _steady()
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
        (1.02, (), 0),  # smaller than matters
        (1.15, (), 1),
        (1.15, ("--fail-over", "20%"), 0),
        (1.15, ("--threshold", "1"), 1),
        (0.5, (), 0),
    ],
)
def test_the_exit_code_is_1_where_a_change_is_certain_and_large(
    tmp_path: Path, factor: float, options: tuple[str, ...], code: int
) -> None:
    result = _compare(tmp_path, _steady(), _scaled("load, warm", factor), *options)
    assert result.exit_code == code, result.output
    assert ("became worse" in result.stderr) == bool(code)


def test_more_of_a_good_thing_is_no_regression(tmp_path: Path) -> None:
    def with_rate(value: float) -> BenchReport:
        rate = Figure(name="rate", condition=Condition(kind="memory"), unit="tokens/s", better="more", samples=(value,))
        return report(figures=(rate,), floors=())

    assert _compare(tmp_path, with_rate(10), with_rate(20)).exit_code == 0
    assert _compare(tmp_path, with_rate(20), with_rate(10)).exit_code == 1


def test_facts_are_not_judged(tmp_path: Path) -> None:
    assert _compare(tmp_path, _steady(), _scaled("prompt tokens", 3.0)).exit_code == 0


def test_a_peer_that_became_slower_is_not_our_regression(tmp_path: Path) -> None:
    peer = Figure(runner="llama.cpp", name="prefill", condition=Condition(kind="prefill", tokens=8), samples=(1.0,))
    slower = dataclasses.replace(peer, samples=(2.0,))
    assert _compare(tmp_path, report(figures=(peer,)), report(figures=(slower,))).exit_code == 0


def test_another_greedy_output_is_a_failure(tmp_path: Path) -> None:
    result = _compare(tmp_path, report(), report(output=GreedyOutput(sha256="00" * 32, tokens=7)))
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
        assert "version 1; only 2, 3, 4 and 5 are read" in result.stderr


def test_a_report_of_the_version_before_is_still_read(tmp_path: Path) -> None:
    path = _written(tmp_path / "a.json", report(repeats=()))
    content = json.loads(path.read_text()) | {"report_version": 2}
    for name in ("repeats", "rounds", "energy_source", "fixed"):
        del content[name]
    path.write_text(json.dumps(content))
    assert read_report(path) == report(repeats=())
    result = CliRunner().invoke(group, ["bench", "compare", str(path), str(path)])
    assert result.exit_code == 0
    assert "no A/A level" in result.stdout


def test_figures_that_had_other_names_are_compared_with_those_of_today(tmp_path: Path) -> None:
    """A year's reports must not lose their images and audio because a word was changed."""
    former = {"image of": "image of", "audio of": "clip of", "prompt tokens": "prompt positions"}
    image = Condition(kind="request", image_width=640, image_height=480)
    waits = [
        Figure(name="time to first token", mode=mode, condition=condition, samples=(1.0, 1.01, 0.99))
        for mode, condition in (("vision", image), ("speech", Condition(kind="request", audio_s=10.0)))
    ]
    counted = Figure(name="prompt tokens", mode="vision", condition=image, unit="tokens", samples=(700,))
    today = report(figures=(*report().figures, *waits, counted), repeats=())
    new, old = _written(tmp_path / "new.json", today), tmp_path / "old.json"
    text = json.dumps(json.loads(new.read_text()) | {"report_version": 3})
    for present, word in former.items():
        assert present in text
        text = text.replace(present, word)
    old.write_text(text)
    assert read_report(old) == today
    shown = CliRunner().invoke(group, ["bench", "show", str(old), "--markdown"])
    assert "Vision: image of 640x480" in shown.stdout
    assert "Speech: audio of 10 s" in shown.stdout
    result = CliRunner().invoke(group, ["bench", "compare", str(old), str(new), "--json"])
    found = json.loads(result.stdout)
    assert (found["only_before"], found["only_after"]) == ([], [])
    labels = " ".join(change["label"] for change in found["changes"])
    assert "image of 640x480" in labels
    assert "audio of 10 s" in labels


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"report_version": 99}', '{"report_version": 2, "figures": [1]}'])
def test_what_is_no_report_is_refused(tmp_path: Path, text: str) -> None:
    good, bad = _written(tmp_path / "a.json", report()), tmp_path / "b.json"
    bad.write_text(text)
    result = CliRunner().invoke(group, ["bench", "compare", str(good), str(bad)])
    assert result.exit_code == 3
    assert str(bad) in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_folders_that_would_run_with_caches_of_two_kinds_are_not_compared() -> None:
    """The difference would be the cache's, and be reported as the model's."""
    plain, smaller = small_bundle(recipe="int4"), small_bundle(recipe="int4", kv_cache="int8")
    result = CliRunner().invoke(group, ["bench", "compare", str(plain), str(smaller)])
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"{plain} keeps keys and values in float, {smaller} in int8; to compare them, give --kv-cache float" in (
        result.stderr
    )


def test_a_failed_comparison_is_one_json_object_that_says_why(tmp_path: Path) -> None:
    result = _compare(tmp_path, _steady(), _scaled("load, warm", 1.5), "--json")
    assert result.exit_code == 1
    (problem,) = json.loads(result.stdout)["failed"]
    assert "load, warm" in problem
    assert problem in result.stderr


def test_a_percentage_that_is_none_is_a_usage_error(tmp_path: Path) -> None:
    assert _compare(tmp_path, report(), report(), "--fail-over", "much").exit_code == 2


_QUICK = ("--threads", "1", "--runs", "2", "--new-tokens", "3", "--prompt-tokens", "8")


def _folders(*arguments: object) -> Result:
    return CliRunner().invoke(group, ["bench", "compare", *map(str, arguments)])


@pytest.mark.slow
@pytest.mark.usefixtures("installed")
def test_two_folders_are_measured_in_turn_and_their_logits_held_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paired, "_MOST_ROUNDS", 2)
    folder = small_bundle()
    result = _folders(folder, folder, *_QUICK, "--json")
    assert result.exit_code == 0, result.stderr
    content = json.loads(result.stdout)
    assert [figure["name"] for figure in content["compared"]["figures"]] == ["decode step", "prefill"]
    assert content["compared"]["num_pairs"] == 2
    assert {item["mode"] for item in content["outputs"]} == {"text", "speech", "vision", "both"}
    assert all(item["distance"] == 0 for item in content["outputs"])
    assert "pair 1 of at most 2" in result.stderr


@pytest.mark.usefixtures("installed")
def test_an_interpreter_without_edgephi_is_refused_before_anything_runs(tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    venv.create(bare, with_pip=False)
    result = _folders(small_bundle(), small_bundle(), *_QUICK, "--against-python", bare / "bin" / "python")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "has no edgephi with bench" in result.stderr
    missing = _folders(small_bundle(), small_bundle(), *_QUICK, "--against-python", "/no/such/python")
    assert (missing.exit_code, missing.stdout) == (2, "")
    assert "cannot be run" in missing.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--force",), "--force is for reports"),
        (("--only", "speed"), "'speed'"),
        (("--depths", "x"), "--depths"),
        (("--depths", "900k"), "takes"),
    ],
)
def test_what_means_nothing_for_folders_is_refused(options: tuple[str, ...], words: str) -> None:
    result = _folders(small_bundle(), small_bundle(), *options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr


def test_what_means_nothing_for_reports_is_refused_and_not_ignored(tmp_path: Path) -> None:
    result = _compare(tmp_path, report(), report(), "--runs", "3")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--runs is for two model folders" in result.stderr


def test_a_folder_is_not_compared_with_a_report(tmp_path: Path) -> None:
    path = _written(tmp_path / "a.json", report())
    result = _folders(small_bundle(), path)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "two model folders, or two reports" in result.stderr


def test_every_option_that_the_documentation_names_exists() -> None:
    text = (Path(__file__).parents[3] / "docs" / "bench.md").read_text()
    known = {"--help"}
    for name in ("model", "compare", "serve", "show"):
        command = bench.get_command(click.Context(bench), name)
        assert command is not None
        known |= {form for option in command.params for form in option.opts}
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text))
    assert len(named) > 15
    assert named <= known
