"""A real server over a real socket: the program itself, with the demo's model folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from support.serve_process import Running, end, launch

Start = Callable[..., Running]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts servers with options; they end with the test."""
    opened: list[Running] = []

    def begin(*options: str) -> Running:
        opened.append(launch(tmp_path / f"log{len(opened)}", *options))
        return opened[-1]

    yield begin
    for running in opened:
        end(running)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One server that tests share; they leave it as it was."""
    running = launch(tmp_path_factory.mktemp("serve") / "log", "--log", "json", "--queue", "2")
    yield running
    end(running)


@pytest.fixture
def client(server: Running) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


@pytest.fixture
def fuzz_count() -> int:
    """How many bodies a test changes; `make fuzz` changes more."""
    return int(os.environ.get("EDGEPHI_FUZZ", "60"))
