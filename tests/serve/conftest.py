"""A real server over a real socket: the program itself, with the demo's model folder."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from edgephi import Model
from edgephi_serve.settings import Limits, Listen, Settings, Times
from support.serve_process import Running, end, launch
from support.serve_thread import ScriptedModel, ServeThread

Start = Callable[..., Running]
Serve = Callable[..., ServeThread]


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
def serve(nano: Model) -> Iterator[Serve]:
    """Starts servers of a scripted model with limits and times; they end with the test."""
    opened: list[ServeThread] = []

    def begin(limits: dict | None = None, listen: Listen | None = None, **times: float) -> ServeThread:
        settings = Settings(listen=listen or Listen(), times=Times(**times), limits=Limits(**(limits or {})))
        opened.append(ServeThread(ScriptedModel(nano), settings).__enter__())
        return opened[-1]

    yield begin
    for one in opened:
        one.__exit__()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Of a server on this machine, and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs openssl")
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True)
    return cert, key


@pytest.fixture
def fuzz_count() -> int:
    """How many bodies a test changes; `make fuzz` changes more."""
    return int(os.environ.get("EDGEPHI_FUZZ", "60"))
