"""`edgephi batch` as a user runs it: the rows are those of the single commands, and no end of the process costs any."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgephi import Model, SamplingOptions
from support.bundles import nano_bundle, small_bundle
from support.media_files import write_image, write_recording
from support.shell import invoke

SAMPLES = Path(__file__).parents[3] / "nano" / "samples"
ALONE = ("--engine", "processes", "--actors", 1, "--threads", 1)


def _rows(folder: Path) -> dict[str, dict]:
    rows = [json.loads(line) for line in (folder / "results.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len({row["id"] for row in rows}) == len(rows)
    return {row["id"]: row for row in rows}


def test_transcripts_are_those_of_the_single_command_and_a_bad_file_is_a_row(tmp_path: Path):
    (tmp_path / "in").mkdir()
    for name in ("command", "sentence"):
        os.link(SAMPLES / f"{name}.wav", tmp_path / "in" / f"{name}.wav")
    (tmp_path / "in" / "broken.wav").write_bytes(b"RIFF but no more")
    command = ("batch", "transcribe", nano_bundle(), tmp_path / "in", "-o", tmp_path / "out", *ALONE, "--json")
    done = invoke(*command)
    summary = json.loads(done.stdout)
    assert (done.exit_code, summary["items"], summary["failed"], summary["new"]) == (1, 3, 1, 3)
    assert "1 of 3 items failed" in done.stderr
    rows = _rows(tmp_path / "out")
    assert list(rows) == ["broken.wav", "command.wav", "sentence.wav"]
    assert rows["broken.wav"]["error"].startswith(str(tmp_path / "in" / "broken.wav"))
    assert {len(row) for row in rows.values()} == {10}
    alone = json.loads(
        invoke("transcribe", nano_bundle(), tmp_path / "in/command.wav", "--threads", 1, "--json").stdout
    )
    for field in ("text", "segments", "duration_s"):
        assert rows["command.wav"][field] == alone["files"][0][field]
    again = json.loads(invoke(*command).stdout)
    assert (again["new"], again["workers"], again["failed"]) == (0, None, 1)


def test_answers_are_those_of_the_model_and_failed_items_can_be_done_again(tmp_path: Path):
    write_image(tmp_path / "a.png")
    lines = [
        {"id": "text", "prompt": "hello"},
        {"id": "image", "images": "a.png"},
        {"id": "talk", "messages": [{"role": "user", "content": "one"}]},
        {"id": "late", "audio": "late.wav"},
    ]
    (tmp_path / "in.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    options = ("--prompt", "what?", "--system", "be brief", "--max-new-tokens", 4, *ALONE)
    command = ("batch", "ask", small_bundle(), tmp_path / "in.jsonl", "-o", tmp_path / "out", *options)
    assert invoke(*command).exit_code == 1
    first = _rows(tmp_path / "out")
    assert "late.wav: no such file" in first["late"]["error"]
    turns = {
        "text": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello"}],
        "image": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "what?"}],
        "talk": lines[2]["messages"],
    }
    with Model.load(small_bundle(), threads=1) as model:
        for name, messages in turns.items():
            images = [str(tmp_path / "a.png")] if name == "image" else []
            reply = model.generate(messages, images=images, options=SamplingOptions(max_new_tokens=4))
            assert (first[name]["text"], first[name]["new_tokens"]) == (reply.text, reply.timing.new_tokens)
    write_recording(tmp_path / "late.wav")
    done = invoke(*command, "--retry-failed")
    assert (done.exit_code, "4/4 items" in done.stdout) == (0, True)
    assert _rows(tmp_path / "out")["late"]["error"] is None


def test_a_run_that_is_killed_and_one_that_is_interrupted_are_gone_on_with(tmp_path: Path):
    lines = [{"id": str(number), "prompt": f"question {number}"} for number in range(40)]
    (tmp_path / "in.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    arguments = ["batch", "ask", small_bundle(), tmp_path / "in.jsonl", "-o", tmp_path / "out", "--max-new-tokens", 8]
    command = [sys.executable, "-m", "edgephi", *map(str, [*arguments, *ALONE])]
    partial, before = tmp_path / "out" / "results.jsonl.partial", 0
    for number, code in ((signal.SIGKILL, -9), (signal.SIGTERM, 143)):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        while not partial.exists() or partial.read_bytes().count(b"\n") < before + 3:
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        process.send_signal(number)
        _, stderr = process.communicate(timeout=60)
        assert process.returncode == code
        before = partial.read_bytes().count(b"\n")
    assert "/40 items" in stderr
    assert stderr.endswith("the same command goes on\n")
    summary = json.loads(invoke(*arguments, *ALONE, "--json").stdout)
    assert (summary["items"], summary["failed"], summary["new"]) == (40, 0, 40 - before)
    assert list(_rows(tmp_path / "out")) == [line["id"] for line in lines]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--engine", "processes", "--address", "auto"), "--address is that of a Ray cluster"),
        (("--column", "x=y"), "--column is 'x=y'"),
        (("--channel", "left"), "'left' is no channel; give a number from 1"),
        (("--memory", "x"), "--memory is 'x'"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_written(
    arguments: tuple[str, ...], message: str, tmp_path: Path
):
    (tmp_path / "a.wav").touch()
    done = invoke("batch", "transcribe", small_bundle(), tmp_path, "-o", tmp_path / "out", *arguments)
    assert (done.exit_code, (tmp_path / "out").exists()) == (2, False)
    assert message in done.stderr


def test_an_item_without_anything_to_answer_is_refused(tmp_path: Path):
    (tmp_path / "in.jsonl").write_text('{"id": "x"}\n', encoding="utf-8")
    done = invoke("batch", "ask", small_bundle(), tmp_path / "in.jsonl", "-o", tmp_path / "out")
    assert (done.exit_code, (tmp_path / "out").exists()) == (2, False)
    assert "nothing to answer; give a --prompt" in done.stderr
