"""A signal that strikes where an exception would be swallowed, or clean-up broken off, still ends the command once."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

NUMBERS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
_START = """
import os, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
number = int(sys.argv[1])
def strike(): os.kill(os.getpid(), number)
from edgephi.console import interruption
interruption.install()
def command():
    try:
        with interruption.released():
            work()
    except KeyboardInterrupt:
        code = interruption.answered()
        print("interrupted")
        sys.exit(code)
from edgephi.console.ending import run_to_end
"""
_WAIT = "    for _ in range(500): time.sleep(0.01)\n"


def _ended(work: str, number: int, folder: Path) -> tuple[int, str, str]:
    code = f"{_START}sys.path.insert(0, {str(folder)!r})\ndef work():\n{work}\nrun_to_end(command)\n"
    command = [sys.executable, "-c", code, str(int(number))]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


SWALLOWED = {
    "an import that catches everything": "    import greedy\n",
    "a callback from C": ("    import ctypes\n    ctypes.CFUNCTYPE(None)(strike)()\n"),
    "the end of an object": ("    class Item:\n        def __del__(self): strike()\n    Item()\n"),
    "a bare except": "    try: strike()\n    except BaseException: pass\n",
    "an extension's key function": "    sorted([2, 1], key=lambda x: strike() or x)\n",
}


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("where", SWALLOWED)
def test_a_signal_that_is_swallowed_comes_again(tmp_path: Path, where: str, number: int):
    (tmp_path / "greedy.py").write_text(
        "import os, sys\n"
        "for _ in range(3):\n"
        "    try: os.kill(os.getpid(), int(sys.argv[1]))\n"
        "    except BaseException: pass\n"
        "print('imported')\n"
    )
    code, stdout, stderr = _ended(SWALLOWED[where] + _WAIT, number, tmp_path)
    assert (code, stderr) == (128 + number, "")
    assert stdout.splitlines()[-1] == "interrupted"
    if where.startswith("an import"):
        assert "imported" in stdout  # no half-imported module stays behind


def test_a_signal_before_the_work_is_answered_when_it_begins(tmp_path: Path):
    code, stdout, _ = _ended("    print('never')\n\nstrike()", signal.SIGTERM, tmp_path)
    assert (code, stdout) == (143, "interrupted\n")


@pytest.mark.parametrize("number", NUMBERS)
def test_more_signals_do_not_break_off_what_is_cleaned_up(tmp_path: Path, number: int):
    work = (
        "    try:\n        strike()\n        time.sleep(5)\n"
        "    finally:\n"
        "        for index in range(30):\n            strike()\n            time.sleep(0.01)\n"
        "        print('clean')\n"
    )
    code, stdout, stderr = _ended(work, number, tmp_path)
    assert (code, stdout, stderr) == (128 + number, "clean\ninterrupted\n", "")


def test_what_is_noted_is_raised_only_when_it_is_delivered(tmp_path: Path):
    work = (
        "    with interruption.noted() as should_stop:\n"
        "        assert not should_stop()\n        strike()\n        time.sleep(0.3)\n        assert should_stop()\n"
        "        print('kept')\n"
        "    interruption.deliver()\n"
    )
    assert _ended(work, signal.SIGHUP, tmp_path) == (129, "kept\ninterrupted\n", "")


def test_a_wait_for_a_reader_who_does_not_read_ends_all_the_same(tmp_path: Path):
    work = (
        "    read, write = os.pipe()\n"
        "    with interruption.noted():\n        strike()\n"
        "        with interruption.may_stick(): os.write(write, bytes(1 << 20))\n"
    )
    assert _ended(work, signal.SIGTERM, tmp_path) == (143, "interrupted\n", "")


def test_a_signal_that_is_ignored_stays_ignored(tmp_path: Path):
    code = (
        "import os, signal\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "from edgephi.console import interruption\ninterruption.install()\n"
        "os.kill(os.getpid(), signal.SIGHUP)\nassert interruption.received() is None\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_signals_at_the_very_end_change_nothing(tmp_path: Path):
    """When the interpreter has taken its handlers away."""
    work = "    import atexit\n    atexit.register(strike)\n    print('done')\n"
    assert _ended(work, signal.SIGTERM, tmp_path) == (0, "done\n", "")
