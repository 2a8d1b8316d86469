"""A log for whoever asks, in the words of Python's own logging, and silence for everybody else."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgephi import Model, SamplingOptions
from edgephi.console.logs import hide_log
from support.bundles import small_bundle
from support.media_files import write_recording
from support.shell import invoke, spawn

ARGUMENTS = ("run", small_bundle(), "a secret prompt", "--max-new-tokens", 3, "--threads", 1)
LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (\w+) +edgephi\.[\w.]+: (.*)")
DOCS = Path(__file__).parents[3] / "docs"


@pytest.fixture(autouse=True)
def _silent_again() -> Iterator[None]:
    yield
    hide_log()


def _levels(stderr: str) -> set[str]:
    return {found[1] for line in stderr.splitlines() if (found := LINE.fullmatch(line))}


@pytest.mark.parametrize(
    ("options", "levels"),
    [((), set()), (("-v",), {"INFO"}), (("-vv",), {"INFO", "DEBUG"}), (("--log-level", "DEBUG"), {"INFO", "DEBUG"})],
)
def test_the_log_is_on_stderr_and_as_deep_as_asked(options: tuple[str, ...], levels: set[str]):
    plain = invoke(*ARGUMENTS)
    done = invoke(*ARGUMENTS, *options)
    assert _levels(done.stderr) == levels
    assert done.stdout == plain.stdout
    hide_log()
    before = invoke(*options, *ARGUMENTS)  # in front of the command as well
    assert _levels(before.stderr) == levels
    assert "secret" not in done.stderr


def test_the_environment_may_ask_for_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("EDGEPHI_LOG", "info")
    assert _levels(spawn("run", small_bundle(), "hello", "--max-new-tokens", 2).stderr) == {"INFO"}
    monkeypatch.setenv("EDGEPHI_LOG", "loud")
    done = invoke("run", small_bundle(), "hello")
    assert done.exit_code == 2
    assert "EDGEPHI_LOG" in done.stderr


def test_a_program_gets_the_librarys_log_only_if_it_asks(capsys: pytest.CaptureFixture[str], caplog: Any):
    with Model.load(small_bundle(), threads=1) as model:
        model.generate("a secret prompt", options=SamplingOptions(max_new_tokens=2))
        assert capsys.readouterr() == ("", "")
        with caplog.at_level(logging.INFO, logger="edgephi"):
            model.generate("a secret prompt", options=SamplingOptions(max_new_tokens=2))
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 2
    assert "request of" in messages[0]
    assert "reply of 2 tokens" in messages[1]
    assert "secret" not in " ".join(messages)


def _paths(value: object, prefix: str = "") -> set[str]:
    if isinstance(value, dict):
        inner = (_paths(item, f"{prefix}{name}.") | {f"{prefix}{name}"} for name, item in value.items())
        return set().union(*inner)
    if isinstance(value, list):
        return set().union(*(_paths(item, f"{prefix.removesuffix('.')}[].") for item in value))
    return set()


@pytest.mark.parametrize("command", ["run", "transcribe", "inspect", "doctor", "verify", "demo"])
def test_every_field_of_a_json_output_is_documented(command: str, tmp_path: Path):
    samples = [{"mode": "text", "title": "a greeting", "prompt": "hello", "expected": "no reply of this model"}]
    (tmp_path / "samples.json").write_text(json.dumps({"samples": samples}), encoding="utf-8")
    arguments: dict[str, tuple[object, ...]] = {
        "run": ("hello", "--max-new-tokens", 3, "--logprobs", 2),
        "transcribe": (write_recording(tmp_path / "a.wav"),),
        "demo": ("--samples", tmp_path),
    }
    done = invoke(command, small_bundle(), *arguments.get(command, ()), "--json")
    text = (DOCS / "json.md").read_text(encoding="utf-8")
    section = text.split(f"## edgephi {command}\n")[1].split("\n## ")[0]
    documented = set(re.findall(r"`([a-z0-9_.\[\]]+)`", section))
    assert _paths(json.loads(done.stdout)) - documented == set()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed_for_each_shell(shell: str):
    done = invoke("completion", shell)
    assert done.exit_code == 0
    assert "_EDGEPHI_COMPLETE" in done.stdout
    assert invoke("completion", "cmd").exit_code == 2


@pytest.mark.parametrize(
    ("typed", "offered"),
    [("edgephi tran", "plain,transcribe"), ("edgephi run m p --temp", "plain,--temperature"), ("edgephi run ", "dir,")],
)
def test_the_shell_is_offered_what_can_follow(typed: str, offered: str):
    words = typed.split(" ")
    environment = {"_EDGEPHI_COMPLETE": "bash_complete", "COMP_WORDS": typed, "COMP_CWORD": str(len(words) - 1)}
    done = subprocess.run(
        [sys.executable, "-m", "edgephi"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert offered in done.stdout.splitlines()
