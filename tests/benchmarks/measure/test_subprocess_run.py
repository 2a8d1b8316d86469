"""Measured memory, bytes and failures must be the command's own, or every comparison is wrong."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from edgephi_bench.measure.environment import read_environment
from edgephi_bench.measure.subprocess_run import CommandError, measure_command

MB = 1_000_000
_GNU_TIME = Path("/usr/bin/time")


def _python(code: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", code]


def _allocate(megabytes: int) -> str:
    return f"block = bytearray({megabytes} * {MB}); block[::4096] = b'x' * len(block[::4096])"


def test_peak_is_what_the_command_allocates():
    plain = measure_command(_python("pass")).peak_bytes
    peak = measure_command(_python(_allocate(200))).peak_bytes
    assert 0 < plain < 40 * MB
    assert 200 * MB < peak < 200 * MB + plain + 5 * MB


def test_peak_is_not_our_own():
    """On Linux a process starts with the largest size of the one that it was forked from."""
    held = bytearray(400 * MB)
    held[::4096] = b"x" * len(held[::4096])
    assert measure_command(_python("pass")).peak_bytes < 40 * MB


def test_memory_of_a_helper_process_counts():
    """A converter may do its work in a child of its own."""
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {_allocate(200)!r}], check=True)"
    assert measure_command(_python(code)).peak_bytes > 200 * MB


@pytest.mark.skipif(not _GNU_TIME.exists(), reason="GNU time is not installed")
def test_peak_and_bytes_are_those_of_gnu_time(tmp_path: Path):
    code = _allocate(100) + f"; open({str(tmp_path / 'out')!r}, 'wb').write(block[:{20 * MB}])"
    ours = measure_command(_python(code))
    done = subprocess.run([_GNU_TIME, "-v", *_python(code)], capture_output=True, text=True, check=True)
    found = {name: int(value) for name, value in re.findall(r"(Maximum resident|outputs)[^:]*: (\d+)", done.stderr)}
    assert ours.peak_bytes == pytest.approx(found["Maximum resident"] * 1024, rel=0.03)
    assert ours.disk_written_bytes == pytest.approx(found["outputs"] * 512, rel=0.03)


def test_written_bytes_are_counted(tmp_path: Path):
    code = f"open({str(tmp_path / 'out')!r}, 'wb').write(bytes({32 * MB}))"
    written = measure_command(_python(code)).disk_written_bytes
    if _file_system(tmp_path) in {"tmpfs", "ramfs"}:
        assert written < MB
    else:
        assert 32 * MB <= written < 34 * MB


def _file_system(path: Path) -> str:
    done = subprocess.run(["stat", "-f", "-c", "%T", str(path)], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_time_covers_the_whole_command():
    assert measure_command(_python("import time; time.sleep(0.2)")).seconds >= 0.2


def test_both_streams_are_passed_on_line_by_line():
    lines: list[str] = []
    measure_command(_python("import sys; print('out', flush=True); print('50%\\r100%', file=sys.stderr)"), lines.append)
    assert lines == ["out", "100%"]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import sys; print('error: no such recipe', file=sys.stderr); print('later'); sys.exit(2)", "no such recipe"),
        ("raise ValueError('seven')", "ValueError: seven"),
        ("import sys; sys.exit(5)", "exit code 5 without a message"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "killed by SIGKILL; the system may have run out"),
    ],
)
def test_a_failure_is_reported_in_the_commands_own_words(code: str, reason: str):
    with pytest.raises(CommandError, match=f"^{re.escape(reason)}"):
        measure_command(_python(code))


def test_a_missing_program_is_named(tmp_path: Path):
    with pytest.raises(CommandError, match="no-such-program: No such file or directory"):
        measure_command([str(tmp_path / "no-such-program")])


def test_an_interruption_reaches_the_command_and_waits_for_it(tmp_path: Path):
    """Otherwise a stopped benchmark would leave a conversion running, and gigabytes behind it."""
    mark = tmp_path / "tidied"
    code = (
        "import os, time\n"
        "try: print(os.getpid(), flush=True); time.sleep(60)\n"
        f"except KeyboardInterrupt: time.sleep(0.3); open({str(mark)!r}, 'w').close()"
    )
    seen: list[int] = []

    def interrupt(line: str) -> None:
        seen.append(int(line))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure_command(_python(code), interrupt)
    assert mark.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(seen[0], 0)


def test_variables_are_added_to_the_present_ones(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("EDGEPHI_TEST_OLD", "1")
    lines: list[str] = []
    code = "import os; print(os.environ['EDGEPHI_TEST_OLD'], os.environ['EDGEPHI_TEST_NEW'])"
    measure_command(_python(code), lines.append, {"EDGEPHI_TEST_NEW": "2"})
    assert lines == ["1 2"]


def test_the_environment_is_this_machine():
    environment = read_environment(("edgephi", "bench"))
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert environment.memory_bytes == total
    assert 1 <= environment.cores <= (os.cpu_count() or 1)
    assert environment.cpu
    assert "numpy" in {item.name for item in environment.versions}
    assert environment.command == ("edgephi", "bench")
