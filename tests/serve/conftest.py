"""A real server over a real socket: the program itself, with the demo's model folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from support.bundles import nano_bundle

Start = Callable[..., "Running"]


@dataclass
class Running:
    """A server's process and address."""

    process: subprocess.Popen[str]
    url: str
    log: Path

    def client(self, **options: object) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=60, **options)


def _start(log: Path, *options: str) -> Running:
    command = [sys.executable, "-m", "edgephi", "serve", str(nano_bundle()), "--port", "0", "--threads", "1", *options]
    with log.open("w") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
    line = process.stdout.readline()
    found = re.match(r"serving \S+ on (\S+)\n", line)
    assert found, (line, log.read_text())
    return Running(process, found[1], log)


def _end(running: Running) -> None:
    if running.process.poll() is None:
        running.process.terminate()
        running.process.wait(30)
    running.process.stdout.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts servers with options; they end with the test."""
    opened: list[Running] = []

    def begin(*options: str) -> Running:
        opened.append(_start(tmp_path / f"log{len(opened)}", *options))
        return opened[-1]

    yield begin
    for running in opened:
        _end(running)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One server that tests share; they leave it as it was."""
    running = _start(tmp_path_factory.mktemp("serve") / "log", "--log", "json", "--queue", "2")
    yield running
    _end(running)


@pytest.fixture
def client(server: Running) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


@pytest.fixture
def fuzz_count() -> int:
    """How many bodies a test changes; `make fuzz` changes more."""
    return int(os.environ.get("EDGEPHI_FUZZ", "60"))
