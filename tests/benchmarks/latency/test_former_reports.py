"""Reports that earlier versions of the program wrote are read with the numbers of their conditions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from edgephi.base.errors import ArtifactError
from edgephi.cli.main import CommandGroup
from edgephi_bench.commands.main import bench
from edgephi_bench.latency.former_reports import parse_phrase
from edgephi_bench.latency.report import read_report, report_json
from edgephi_bench.measure.condition import Condition

FORMER = Path(__file__).with_name("former")
PATHS = sorted(FORMER.glob("version_*.json"))

group = CommandGroup("edgephi")
group.get_command = lambda ctx, name: bench  # type: ignore[method-assign]


def _raw(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def test_a_report_of_every_former_version_is_kept() -> None:
    assert [_raw(path)["report_version"] for path in PATHS] == [2, 3, 4]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_kept_report_is_shown_and_compared(path: Path, tmp_path: Path) -> None:
    report = read_report(path)
    again = tmp_path / "again.json"
    again.write_text(json.dumps(report_json(report)))
    assert read_report(again) == report
    result = CliRunner().invoke(group, ["bench", "compare", str(path), str(again), "--json"])
    compared = json.loads(result.stdout)
    assert (compared["only_before"], compared["only_after"]) == ([], [])
    assert len(compared["changes"]) == len(_raw(path)["figures"])
    assert CliRunner().invoke(group, ["bench", "show", str(path)]).exit_code == 0


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_kept_reports_conditions_read_as_they_were_written(path: Path) -> None:
    former = [item["condition"] for item in _raw(path)["figures"]]
    today = [word.replace("picture of", "image of").replace("clip of", "audio of") for word in former]
    assert [str(figure.condition) for figure in read_report(path).figures] == today


@pytest.mark.parametrize(
    ("phrase", "condition"),
    [
        ("depth 1000, 2 threads", Condition(kind="decode", depth=1000, threads=2)),
        ("depth 0, 4 new, 1 thread", Condition(kind="decode", depth=0, new_tokens=4, threads=1)),
        ("512 tokens, 2 threads", Condition(kind="prefill", tokens=512, threads=2)),
        ("prompt of about 64 tokens, 12 new", Condition(kind="request", tokens=64, new_tokens=12)),
        ("clip of 2.5 s", Condition(kind="request", audio_s=2.5)),
        ("picture of 640x480", Condition(kind="request", image_width=640, image_height=480)),
        ("own prompt, depth 3, 2 threads", Condition(kind="request", prompt="depth 3, 2 threads")),
        ("context 512", Condition(kind="memory", context=512)),
        ("", Condition(kind="memory")),
    ],
)
def test_each_phrase_has_its_numbers(phrase: str, condition: Condition) -> None:
    assert parse_phrase(phrase, "report") == condition


@pytest.mark.parametrize("phrase", ["warm", "depth x, 2 threads", 7, None])
def test_a_phrase_that_no_version_wrote_is_refused(phrase: object) -> None:
    with pytest.raises(ArtifactError, match=r"r\.json: .* is not a condition"):
        parse_phrase(phrase, "r.json")
