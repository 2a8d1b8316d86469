"""`edgephi evaluate` through its front door, on nano: figures on stdout, answers in the run's folder, exit codes."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edgephi.cli.main import CommandGroup
from edgephi_evaluate.commands.main import evaluate
from edgephi_evaluate.runs.folder import read_records, suite_folder
from support.bundles import nano_bundle
from support.evaluation import SUITE, ScriptedEngine, run, write_items

SAMPLES = Path(__file__).parents[3] / "nano" / "samples"

#: The real group, with the command put in directly: whether it is installed as an entry point is another test's matter.
group = CommandGroup("edgephi")
group.get_command = lambda ctx, name: evaluate  # type: ignore[method-assign]


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(group, ["evaluate", *map(str, arguments)])


def _nano_items(folder: Path) -> Path:
    """Three of the demo's samples: speech, an image, and a spoken question about an image."""
    folder.mkdir()
    for name in ("sentence.wav", "command.wav", "sign.png", "number.png", "spoken-number-question.wav"):
        shutil.copy(SAMPLES / name, folder)
    samples = json.loads((SAMPLES / "samples.json").read_text(encoding="utf-8"))
    expected = {entry.get("audio") or entry.get("image"): entry["expected"] for entry in _entries(samples)}
    transcribe = {"prompt": "Transcribe the audio clip into text.", "part": "speech"}
    lines = [
        {"id": "1", **transcribe, "audio": ["sentence.wav"], "answers": [expected["sentence.wav"]]},
        {"id": "2", **transcribe, "audio": ["sentence.wav"], "answers": [expected["sentence.wav"] + " twice"]},
        {"id": "3", "prompt": "What does the sign say?", "images": ["sign.png"], "answers": [expected["sign.png"]]},
    ]
    (folder / "items.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines), encoding="utf-8")
    return folder


def _entries(samples: object) -> list[dict[str, str]]:
    return samples if isinstance(samples, list) else samples["samples"]  # type: ignore[index, return-value]


def test_a_model_folder_is_measured_reported_and_not_asked_twice(tmp_path: Path):
    data, folder = _nano_items(tmp_path / "data"), tmp_path / "run"
    arguments = [nano_bundle(), SUITE, "--data", data, "-o", folder, "--threads", 2]
    done = _run(*arguments, "--html", tmp_path / "page.html", "--markdown", tmp_path / "table.md", "--json")
    assert done.exit_code == 0, done.stderr
    (summary,) = json.loads(done.stdout)["runs"]
    records = read_records(suite_folder(folder, SUITE))
    words = {record.id: record.counts for record in records}
    assert (words["1"][0], words["2"][0], words["3"]) == (0, 1, (0, 1))
    assert summary["whole"]["items"] == 3
    assert summary["run"]["identity"]["engine"]["recipe"] == "int4"
    assert summary["speed"]["rtfx"] > 0
    assert all(record.seconds.total > 0 and record.token_ids for record in records)
    stamp = (suite_folder(folder, SUITE) / "items-1-of-1.jsonl").read_bytes()
    again = _run(*arguments)
    assert again.exit_code == 0
    assert "word error rate, %" in again.stdout
    assert (suite_folder(folder, SUITE) / "items-1-of-1.jsonl").read_bytes() == stamp
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert html.count("<audio controls") == 1  # the one with an error
    assert 'src="data:audio/wav;base64,' in html
    assert not re.search(r"(src|href)=\"(?!data:)", html)
    assert "| run | items:wer-raw | word error rate, % | 3 | 0 | 0 |" in (tmp_path / "table.md").read_text("utf-8")


def test_a_requirement_that_does_not_hold_and_failures_end_with_1(tmp_path: Path):
    data = write_items(tmp_path / "data")
    good = run(ScriptedEngine(), data, tmp_path / "good")
    bad = run(ScriptedEngine(lambda n, text: "fail" if n == 7 else text), data, tmp_path / "bad")
    assert _run("report", good, "--require", "wer<=1").exit_code == 0
    done = _run("report", bad)
    assert done.exit_code == 1
    assert "1 of 40 items failed, more than 1 %" in done.stderr
    assert "Quality" in done.stdout
    done = _run("report", bad, "--baseline", good, "--require", "wer<=+0.3", "--json")
    assert done.exit_code == 1
    assert "wer<=+0.3 is not met" in done.stderr
    assert json.loads(done.stdout)["runs"][0]["change"]["value"] == 2.5


def test_shards_are_merged(tmp_path: Path):
    data = write_items(tmp_path / "data")
    parts = [run(ScriptedEngine(), data, tmp_path / str(n), shard=n, shards=2) for n in (1, 2)]
    done = _run("merge", *parts, "-o", tmp_path / "all")
    assert (done.exit_code, done.stdout) == (0, f"40 answers in {tmp_path / 'all'}\n")
    assert _run("merge", *parts, "-o", tmp_path / "all").exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["items:wer-rw"], "no such suite"),
        ([SUITE, "--shard", "3/2"], "no shard"),
        ([SUITE, "--engine", "torch"], "no such engine"),
        ([SUITE, "--engine", "openai:here"], "write openai:http"),
        ([SUITE, "--require", "wer"], "write METRIC<=NUMBER"),
        ([SUITE, "--html", "no/folder/page.html"], "its folder does not exist"),
        (["docvqa"], "holds neither items.jsonl nor validation"),
    ],
)
def test_what_cannot_be_done_is_refused_before_any_work(tmp_path: Path, arguments: list[str], words: str):
    data = tmp_path / "data"
    data.mkdir()
    if arguments[0] == SUITE:
        write_items(data)
    done = _run(nano_bundle(), *arguments, "--data", data, "-o", tmp_path / "run")
    assert done.exit_code == 2
    assert words in done.stderr
    assert not (tmp_path / "run").exists()


def test_suites_are_listed_and_data_checked(tmp_path: Path):
    assert "openasr-2025" in _run("suites").stdout
    facts = _run("suites", "docvqa").stdout
    assert "Answer the question using a single word or phrase." in facts
    assert "93.2" in facts
    assert len(json.loads(_run("suites", "--json").stdout)["suites"]) > 30
    done = _run("check", SUITE, "--data", write_items(tmp_path / "data"))
    assert done.exit_code == 0
    assert "40 items of 1 files" in done.stdout
    assert "a: 20 rows" in done.stdout
    folder = tmp_path / "mmlu"
    folder.mkdir()
    (folder / "test.jsonl").write_text('{"question": "?"}\n', encoding="utf-8")
    done = _run("check", "mmlu", "--data", tmp_path, "--json")
    assert done.exit_code == 1
    assert "column subject is missing" in done.stderr
    assert "1 rows, 14,042 were published" in done.stderr


def test_a_slip_in_a_command_is_named():
    done = _run("reprot", "run")
    assert done.exit_code == 2
    assert "did you mean report?" in done.stderr
