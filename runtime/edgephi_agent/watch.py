"""The proof of a release on trial: its own probe, run on this device."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import dataclass

from edgephi_agent.disk import Disk
from edgephi_agent.errors import ProbeError
from edgephi_agent.install import read_index
from edgephi_agent.json_values import decode, encode
from edgephi_agent.lifecycle import commit, give_up
from edgephi_agent.state import RELEASES, State, Trial, load_state, put

REPORT_NAME = "last_probe.json"
#: Other agents hold the lock for milliseconds, unless one installs.
PATIENCE_S = 10
_SOAK_STEP_S = 0.5
_MOST_LINE = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeReport:
    """The end of a release's probe.

    Attributes:
        release: Its name.
        exit_code: Of the command; None where it could not be started or was ended at its deadline.
        elapsed_ms: It took.
        message: The last line of its stderr, or why it did not end by itself.
    """

    release: str
    exit_code: int | None
    elapsed_ms: int
    message: str

    @property
    def accepted(self) -> bool:
        """Whether the release proved itself."""
        return self.exit_code == 0


def judge(disk: Disk) -> State:
    """Run the probe of the release on trial: it becomes the good one, or is given up.

    Raises:
        ProbeError: It was given up.
    """
    state = load_state(disk)
    return state if state.trial is None else _ended_trial(disk, run_probe(disk, state.trial.name))


def watch(disk: Disk, soak_s: float = 0) -> State:
    """Judge the release on trial while the service runs with it.

    The agent's folder is locked only where it is changed, so that starts of the service meanwhile pass the gate, which
    counts them, and may give the release up.

    Args:
        disk: Of the device; not locked.
        soak_s: An accepted release becomes the good one once the service was not started anew for so long. A server
            that says it is ready and then hangs is found by systemd's watchdog, so this must be longer than its time.

    Raises:
        ProbeError: It was given up by its probe.
    """
    state = load_state(disk)
    if state.trial is None:
        return state
    report = run_probe(disk, state.trial.name)
    if report.accepted:
        _soak(disk, state.trial, soak_s)
    with disk.locked(PATIENCE_S):
        state = load_state(disk)
        is_same = state.trial is not None and state.trial.name == report.release
        return _ended_trial(disk, report) if is_same else state


def _soak(disk: Disk, trial: Trial, soak_s: float) -> None:
    """Wait until the service has run for so long since its last start, or the trial has ended."""
    seen: Trial | None = trial
    ends_s = time.monotonic() + soak_s
    while seen is not None and seen.name == trial.name and (left_s := ends_s - time.monotonic()) > 0:
        time.sleep(min(_SOAK_STEP_S, left_s))
        if (now := load_state(disk).trial) != seen:
            seen, ends_s = now, time.monotonic() + soak_s


def _ended_trial(disk: Disk, report: ProbeReport) -> State:
    put(disk, REPORT_NAME, encode(report))
    if report.accepted:
        return commit(disk)
    left = give_up(disk, f"its probe failed: {report.message}").serving
    serving = "nothing serves" if left is None else f"{left} serves again"
    raise ProbeError(f"{report.release} did not pass its probe ({report.message}); {serving}")


def run_probe(disk: Disk, name: str) -> ProbeReport:
    """Run a release's probe in its folder, in a process group that ends at the deadline."""
    probe, folder = read_index(disk, name).release.probe, disk.path(f"{RELEASES}/{name}")
    began_s = time.monotonic()
    code: int | None = None
    try:
        process = subprocess.Popen(
            [folder / probe.command[0], *probe.command[1:]],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        message = f"cannot be started: {error.strerror}"
    else:
        code, message = _ended(process, probe.deadline_s)
    elapsed_ms = round(1000 * (time.monotonic() - began_s))
    return ProbeReport(release=name, exit_code=code, elapsed_ms=elapsed_ms, message=message)


def _ended(process: subprocess.Popen[bytes], deadline_s: int) -> tuple[int | None, str]:
    with process:
        try:
            _, errors = process.communicate(timeout=deadline_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return None, f"not done after {deadline_s} s"
    lines = errors.decode("utf-8", "replace").strip().splitlines() or [f"exit code {process.returncode}"]
    return process.returncode, "".join(c if c.isprintable() else " " for c in lines[-1])[:_MOST_LINE]


def last_report(disk: Disk) -> ProbeReport | None:
    """The report of the last probe.

    Raises:
        RefusedError: Its file is damaged.
    """
    content = disk.read(REPORT_NAME)
    return None if content is None else decode(ProbeReport, content, REPORT_NAME)
