"""The program itself, serving the demo's model folder on a free port."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import httpx

from support.bundles import nano_bundle


@dataclass
class Running:
    """A server's process and address."""

    process: subprocess.Popen[str]
    url: str
    log: Path

    def client(self, **options: object) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=60, **options)


def launch(log: Path, *options: str) -> Running:
    """Start a server and wait until it answers."""
    command = [sys.executable, "-m", "edgephi", "serve", str(nano_bundle()), "--port", "0", "--threads", "1", *options]
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
