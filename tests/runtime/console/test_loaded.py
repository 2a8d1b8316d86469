"""Ctrl-C while a large model is loaded or freed ends the command at once: neither is waited for."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgephi.console.loaded import loaded
from edgephi.model import Model
from support.bundles import small_bundle

#: Longer than any busy machine takes to end a process that waits for nothing.
_STUCK_S = 40
_START = """
import sys, time
{prepare}
from edgephi.__main__ import program
program()
"""
# A thread in native code that nothing ends, as ONNX Runtime's is while it packs one large tensor.
_SLOW_LOAD = f"""
import edgephi.ort.session as session
def stuck(*arguments):
    print("begun", file=sys.stderr, flush=True)
    time.sleep({_STUCK_S})
session._load = stuck
"""
_SLOW_FREE = f"""
from edgephi.model import Model
Model.close = lambda self: time.sleep({_STUCK_S})
Model.__del__ = lambda self: time.sleep({_STUCK_S})
"""
_AUDIO = str(Path(__file__).parents[3] / "nano" / "samples" / "sentence.wav")
COMMANDS = {
    "run": ("run", str(small_bundle()), "hi", "--threads", "1"),
    "chat": ("chat", str(small_bundle()), "--threads", "1"),
    "transcribe": ("transcribe", str(small_bundle()), _AUDIO, "--threads", "1"),
}


def _begun(prepare: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _START.format(prepare=prepare), *arguments]
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def _interrupted(process: subprocess.Popen[str], number: int) -> tuple[str, str]:
    """What it wrote after it had begun to load; it must not wait for what is stuck."""
    assert process.stderr is not None
    while (line := process.stderr.readline()) != "begun\n":
        assert line, "ended before it began to load"
    sent_s = time.monotonic()
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=2 * _STUCK_S)
    assert time.monotonic() - sent_s < _STUCK_S / 2
    return stdout, stderr


@pytest.mark.parametrize(
    ("command", "number"),
    [("run", signal.SIGINT), ("run", signal.SIGHUP), ("chat", signal.SIGTERM), ("transcribe", signal.SIGINT)],
)
def test_a_signal_does_not_wait_for_loading(command: str, number: int):
    process = _begun(_SLOW_LOAD, *COMMANDS[command])
    assert _interrupted(process, number) == ("", "interrupted\n")
    assert process.returncode == 128 + number


def test_a_signal_while_loading_is_reported_as_json_too():
    process = _begun(_SLOW_LOAD, *COMMANDS["run"], "--json")
    stdout, _ = _interrupted(process, signal.SIGINT)
    assert json.loads(stdout)["error"] == {"type": "Interrupted", "message": "interrupted", "exit_code": 130}


@pytest.mark.parametrize("command", ["run", "transcribe"])
def test_what_is_complete_is_given_out_before_the_process_ends(command: str):
    """All of it, through a pipe that is slower than the process."""
    process = _begun(_SLOW_FREE, *COMMANDS[command], *(["--json"] if command == "transcribe" else []))
    began_s = time.monotonic()
    stdout, stderr = process.communicate(timeout=4 * _STUCK_S)
    assert process.returncode == 0, stderr
    assert stdout.endswith("\n")
    assert time.monotonic() - began_s < _STUCK_S
    if command == "transcribe":
        assert json.loads(stdout)["files"][0]["complete"] is True


def test_an_error_after_loading_keeps_its_exit_code():
    process = _begun(_SLOW_FREE, *COMMANDS["run"], "--max-context", "4")
    _, stderr = process.communicate(timeout=4 * _STUCK_S)
    assert process.returncode == 4, stderr
    assert stderr.startswith("error: ")


def test_nothing_is_left_in_the_folder_for_temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Where a model folder was replaced, ONNX Runtime is given an empty one while it loads."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    replaced = (
        "from edgephi.bundle.folder_files import HeldFiles\nHeldFiles.are_in_place = property(lambda self: False)\n"
    )
    process = _begun(replaced + _SLOW_LOAD, *COMMANDS["run"])
    _interrupted(process, signal.SIGINT)
    assert list(tmp_path.iterdir()) == []


def test_in_a_program_that_is_not_ours_the_model_is_closed():
    with loaded(lambda _: Model.load(small_bundle(), threads=1)) as model:
        assert model.generate("hi").token_ids
    with pytest.raises(Exception, match="closed"):
        model.generate("hi")
