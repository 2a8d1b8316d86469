"""The program itself, serving the demo's model folder on a free port."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from support.bundles import nano_bundle


@dataclass(frozen=True)
class ProcessState:
    """Resident memory, now and at most so far, open files and threads of a process."""

    rss_kib: int
    peak_kib: int
    files: int
    threads: int


@dataclass
class Running:
    """A server's process and address."""

    process: subprocess.Popen[str]
    url: str
    log: Path

    def client(self, **options: object) -> httpx.Client:
        return httpx.Client(**{"base_url": self.url, "timeout": 60, **options})

    def state(self) -> ProcessState:
        """What the process holds now."""
        folder = Path(f"/proc/{self.process.pid}")
        status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
        return ProcessState(
            rss_kib=int(status["VmRSS"].split()[0]),
            peak_kib=int(status["VmHWM"].split()[0]),
            files=len(list((folder / "fd").iterdir())),
            threads=int(status["Threads"]),
        )

    def reset_peak(self) -> None:
        """From now on `peak_kib` is of what follows (proc(5), clear_refs)."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def settled(self, seconds: float = 10) -> ProcessState:
        """The same once nothing runs or waits any more.

        Raises:
            AssertionError: Something still runs or waits after `seconds`.
        """
        ends_s = time.monotonic() + seconds
        with self.client() as client:
            while time.monotonic() < ends_s:
                lines = client.get("/metrics").text.splitlines()
                names = ("edgephi_requests_running ", "edgephi_requests_waiting ")
                if all(line.endswith(" 0.0") for line in lines if line.startswith(names)):
                    time.sleep(0.3)
                    return self.state()
                time.sleep(0.05)
        raise AssertionError("requests still run or wait")


def launch(log: Path, *options: str, model: Path | None = None, program: Sequence[str] = ("-m", "edgephi")) -> Running:
    """Start a server of the demo's or another model folder, and wait until it answers."""
    folder = str(model or nano_bundle())
    command = [sys.executable, *program, "serve", folder, "--port", "0", "--threads", "1", *options]
    with log.open("w") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
    line = process.stdout.readline()
    found = re.match(r"serving \S+ on (\S+)\n", line)
    assert found, (line, log.read_text())
    return Running(process, found[1], log)


def end(running: Running) -> None:
    """End it as its owner would."""
    if running.process.poll() is None:
        running.process.terminate()
        running.process.wait(30)
    running.process.stdout.close()
