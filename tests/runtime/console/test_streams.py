"""Streams that are closed, full or left by their reader: one line or none, the right exit code, never a traceback."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from edgephi.base.errors import CapacityError, EdgeError
from edgephi.ort.session import runtime
from support.bundles import small_bundle

_SAMPLES = Path(__file__).parents[3] / "nano" / "samples"
_FEW = ("--max-new-tokens", "3", "--threads", "1")
COMMANDS = {
    "run": ("run", str(small_bundle()), "hi", *_FEW),
    "run-json": ("run", str(small_bundle()), "hi", "--json", *_FEW),
    "transcribe": ("transcribe", str(small_bundle()), str(_SAMPLES / "sentence.wav"), "--threads", "1"),
    "chat": ("chat", str(small_bundle()), *_FEW),
    "inspect": ("inspect", str(small_bundle())),
    "doctor": ("doctor",),
    "version": ("version",),
    "help": ("--help",),
    "version-option": ("--version",),
    "run-help": ("run", "--help"),
    "bench-help": ("bench", "--help"),
}


def _ended(name: str, buffering: str, **streams: object) -> tuple[int, list[str]]:
    environment = {**os.environ, "PYTHONUNBUFFERED": buffering}
    command = [sys.executable, "-m", "edgephi", *COMMANDS[name]]
    options = {"input": b"hello\n", "stderr": subprocess.PIPE, "env": environment, "timeout": 120, **streams}
    done = subprocess.run(command, check=False, **options)  # type: ignore[call-overload]
    assert b"Traceback" not in (done.stderr or b"")
    assert b"Exception ignored" not in (done.stderr or b"")
    return done.returncode, [line for line in (done.stderr or b"").decode().splitlines() if line.startswith("error")]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk_behind_stdout_is_one_line(name: str):
    with Path("/dev/full").open("wb") as full:
        for buffering in ("", "1") if name in ("version", "help") else ("1",):
            code, errors = _ended(name, buffering, stdout=full)
            assert (code, errors) == (1, ["error: standard output cannot be written (No space left on device)"])


@pytest.mark.parametrize("name", ["run", "transcribe", "chat", "version", "help", "run-help"])
def test_a_closed_stdout_is_one_line(name: str):
    code, errors = _ended(name, "", preexec_fn=lambda: os.close(1))
    assert (code, errors) == (1, ["error: standard output cannot be written (Bad file descriptor)"])


@pytest.mark.parametrize("name", ["run", "transcribe", "chat", "inspect", "version", "help", "run-help"])
def test_a_reader_that_went_away_is_no_error_and_no_success(name: str):
    read, write = os.pipe()
    os.close(read)
    try:
        assert _ended(name, "", stdout=write) == (128 + 13, [])
    finally:
        os.close(write)


def test_a_closed_stderr_costs_nothing():
    code, _ = _ended("run", "", stdout=subprocess.DEVNULL, preexec_fn=lambda: os.close(2))
    assert code == 0


def test_a_file_that_is_opened_never_takes_the_place_of_a_closed_stream(tmp_path: Path):
    """Otherwise what is printed would be written into it."""
    code, errors = _ended("inspect", "", stdin=None, input=None, preexec_fn=lambda: os.closerange(0, 3))
    assert (code, errors) == (1, [])


def _limited(megabytes: int) -> subprocess.CompletedProcess[str]:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (megabytes << 20, megabytes << 20))

    command = [sys.executable, "-m", "edgephi", *COMMANDS["run"]]
    return subprocess.run(command, preexec_fn=limit, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize("megabytes", [60, 160])  # with more, ONNX Runtime itself may crash
def test_too_little_address_space_is_not_a_missing_package(megabytes: int):
    """`ulimit -v`, as batch systems set it."""
    done = _limited(megabytes)
    # Native code that cannot go on ends the process with a line of its own: OpenBLAS, or the tokenizer's Rust.
    by_itself = "OpenBLAS" in done.stderr or "memory allocation of" in done.stderr
    assert done.returncode in (4, 0) or by_itself, done.stderr
    assert "Traceback" not in done.stderr
    assert "not installed" not in done.stderr
    if done.returncode == 4:
        errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1
        assert "memory" in errors[0]


def test_a_library_that_cannot_be_mapped_is_no_missing_one(monkeypatch: pytest.MonkeyPatch):
    reason = "libonnxruntime.so.1: failed to map segment from shared object"
    for error, kind, words in (
        (ImportError(reason), CapacityError, r"not enough free memory to load ONNX Runtime \(libonnx"),
        (MemoryError(), CapacityError, "not enough free memory to load ONNX Runtime"),
        (ImportError("undefined symbol: x"), EdgeError, r"is installed but cannot be loaded \(undefined symbol: x\)"),
        (ModuleNotFoundError("No module named 'onnxruntime'"), EdgeError, "is not installed; run: pip install"),
    ):

        class Finder:
            raised = error

            def find_spec(self, name: str, path: object = None, target: object = None) -> None:
                if name == "onnxruntime":
                    raise self.raised

        with monkeypatch.context() as patch:
            patch.delitem(sys.modules, "onnxruntime", raising=False)
            patch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])
            with pytest.raises(kind, match=words) as caught:
                runtime()
        assert isinstance(caught.value, CapacityError) == (kind is CapacityError)
