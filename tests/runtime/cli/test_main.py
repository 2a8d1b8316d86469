"""The command as a whole: help, errors, exit codes, host commands."""

from __future__ import annotations

import array
import fcntl
import os
import signal
import subprocess
import sys
import termios
import time
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

import edgephi.cli.main as cli
import edgephi.model
from edgephi.base.errors import ArtifactError, CapacityError, ConfigError, EdgeError
from support.bundles import copy_bundle, small_bundle
from support.shell import invoke, spawn

COMMANDS = ["demo", "inspect", "run", "transcribe", "verify", "version"]


def test_without_a_command_it_helps():
    done = spawn()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == spawn("--help").stdout
    for name in COMMANDS:
        assert f"\n  {name} " in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_examples(name: str):
    done = invoke(name, "--help")
    assert done.exit_code == 0
    assert f"  edgephi {name}" in done.stdout.split("Example", 1)[1]


def test_the_version_is_printed():
    assert invoke("--version").stdout.startswith("edgephi, version ")
    assert "onnxruntime 1." in invoke("version").stdout


@pytest.mark.parametrize("arguments", [["fly"], ["run"], ["run", "m", "x", "--threads", "0"], ["inspect", "m", "--no"]])
def test_usage_errors_exit_with_2_and_leave_stdout_empty(arguments: list[str]):
    done = invoke(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "Usage: edgephi" in done.stderr


@pytest.mark.parametrize(
    ("error", "code"), [(EdgeError("a"), 1), (ConfigError("b"), 2), (ArtifactError("c"), 3), (CapacityError("d"), 4)]
)
def test_each_kind_of_error_has_its_exit_code_and_one_line(
    monkeypatch: pytest.MonkeyPatch, error: EdgeError, code: int
):
    def fail(*args: object, **values: object) -> None:
        raise error

    monkeypatch.setattr(edgephi.model.Model, "load", fail)
    done = invoke("run", "m", "x")
    assert (done.exit_code, done.stdout, done.stderr) == (code, "", f"error: {error}\n")


def test_a_message_of_several_lines_is_still_one_line(monkeypatch: pytest.MonkeyPatch):
    def fail(*args: object, **values: object) -> None:
        raise ConfigError("a\nb\x1b[31m\r\n c")

    monkeypatch.setattr(edgephi.model.Model, "load", fail)
    assert invoke("run", "m", "x").stderr == "error: a b\ufffd[31m c\n"


def test_a_disk_that_is_full_is_one_line():
    command = [sys.executable, "-m", "edgephi", "inspect", str(small_bundle())]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("error: ")
    assert "No space left" in done.stderr


@pytest.mark.parametrize(("encoding", "name"), [("utf-8:strict", b"m\\udcff"), ("ascii:strict", b"m?")])
def test_what_stdout_cannot_encode_is_escaped(encoding: str, name: bytes, tmp_path: Path):
    bundle = copy_bundle(small_bundle(), tmp_path / "m\udcff\u00b7")
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    command = [sys.executable, "-m", "edgephi", "inspect", str(bundle)]
    done = subprocess.run(command, env=environment, capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
    assert name in done.stdout


def test_a_missing_folder_is_one_line_in_a_real_shell():
    done = spawn("run", "no/such/folder", "hi")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("error: no/such/folder: no such model folder")
    assert done.stderr.count("\n") == 1


def test_ctrl_c_is_one_line_and_130(monkeypatch: pytest.MonkeyPatch):
    def interrupt(*args: object, **values: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(edgephi.model.Model, "load", interrupt)
    done = invoke("run", "m", "x")
    assert (done.exit_code, done.stdout, done.stderr) == (130, "", "interrupted\n")


def test_ctrl_c_in_a_real_shell_leaves_no_traceback():
    # A shell that runs tests in the background ignores the signal, and children inherit that.
    code = (
        "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from edgephi.cli.main import main\nmain(['run', 'model', '-'])"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdin is not None
        process.stdin.write(b"half a prompt")
        process.stdin.flush()
        _wait_until_read(process.stdin.fileno())
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout, stderr) == (130, b"", b"interrupted\n")


def _wait_until_read(pipe: int) -> None:
    """Return when the other side has taken everything out of the pipe."""
    deadline, waiting = time.monotonic() + 60, array.array("i", [1])
    while waiting[0] and time.monotonic() < deadline:
        fcntl.ioctl(pipe, termios.FIONREAD, waiting)
        time.sleep(0.01)
    assert waiting[0] == 0


def test_too_little_memory_is_one_line(monkeypatch: pytest.MonkeyPatch):
    def exhaust(*args: object, **values: object) -> None:
        raise MemoryError

    monkeypatch.setattr(edgephi.model.Model, "load", exhaust)
    done = invoke("run", "m", "x")
    assert done.exit_code == 4
    assert done.stderr.startswith("error: this machine has not enough free memory")


def test_a_reader_that_goes_away_is_no_drama():
    command = [sys.executable, "-m", "edgephi", "inspect", str(small_bundle())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""


def _host(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    point = EntryPoint(name="export", value=value, group=cli.COMMAND_GROUP)
    monkeypatch.setattr(cli, "entry_points", lambda group: [point] if group == cli.COMMAND_GROUP else [])


def test_a_host_packages_command_is_found(monkeypatch: pytest.MonkeyPatch):
    _host(monkeypatch, "edgephi.cli.version:version")
    assert "\n  export " in invoke().stdout
    assert "onnxruntime" in invoke("export").stdout


def test_a_host_command_without_its_libraries_names_the_pip_command(monkeypatch: pytest.MonkeyPatch):
    _host(monkeypatch, "no_such_package.cli:export")
    assert 'pip install "edgephi[export]"' in invoke().stdout
    done = invoke("export", "checkpoint", "-o", "out")
    assert (done.exit_code, done.stdout) == (1, "")
    assert 'pip install "edgephi[export]"' in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_device_without_host_packages_lacks_their_commands(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cli, "entry_points", lambda group: [])
    assert "export " not in invoke().stdout.split("Commands:")[1]
    assert invoke("export").exit_code == 2


def test_a_library_missing_inside_a_host_command_names_the_pip_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "late_host.py").write_text(
        "import click\n@click.command()\ndef export():\n    import no_such_package\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    _host(monkeypatch, "late_host:export")
    done = invoke("export")
    assert done.exit_code == 1
    assert 'pip install "edgephi[export]"' in done.stderr


def test_a_host_command_that_finds_no_memory_is_not_called_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "large_host.py").write_text("raise ImportError('x.so: failed to map segment from shared object')\n")
    monkeypatch.syspath_prepend(tmp_path)
    _host(monkeypatch, "large_host:export")
    done = invoke("export")
    assert done.exit_code == 4
    assert done.stderr.startswith("error: this machine has not enough free memory")
