"""Servers follow each other on one socket, as systemd's units let them: no request is refused."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.bundles import nano_bundle
from support.uds_clients import Clients

_AS_SYSTEMD = """
import os, sys
os.dup2(int(os.environ["PASSED"]), 3)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.executable, [sys.executable, "-m", "edgephi", *sys.argv[1:]])
"""
_NUM_REQUESTS = 1000


@contextmanager
def _socket(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen(256)
        yield listening


def _start(listening: socket.socket) -> subprocess.Popen[str]:
    """A server on this socket; it is there once its first line is."""
    command = [sys.executable, "-c", _AS_SYSTEMD, "serve", str(nano_bundle()), "--threads", "1", "--queue", "64"]
    environment = {**os.environ, "LISTEN_FDS": "1", "PASSED": str(listening.fileno())}
    number = listening.fileno()
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, pass_fds=[number])


def _ready(process: subprocess.Popen[str]) -> None:
    assert process.stdout.readline().startswith("serving nano on unix:")


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    assert process.wait(60) == 0
    process.stdout.close()


def _swap(path: Path, listening: socket.socket, num_requests: int) -> Counter[str]:
    """A restart, then a change with two servers for a moment, spread over the requests."""
    server = _start(listening)
    _ready(server)
    with Clients(path, num_requests) as clients:
        clients.wait_for(num_requests * 2 // 3)
        _end(server)  # requests wait in the socket
        server = _start(listening)
        _ready(server)
        clients.wait_for(num_requests // 3)
        bridge = _start(listening)
        _ready(bridge)
        _end(server)
        server = _start(listening)
        _ready(server)
        _end(bridge)
        answers = clients.finish()
    _end(server)
    return answers


def test_a_change_of_servers_refuses_no_request(tmp_path: Path):
    with _socket(tmp_path / "s") as listening:
        assert _swap(tmp_path / "s", listening, 30) == {"200": 30}


@pytest.mark.slow
def test_a_change_of_servers_refuses_none_of_1000_requests(tmp_path: Path):
    with _socket(tmp_path / "s") as listening:
        assert _swap(tmp_path / "s", listening, _NUM_REQUESTS) == {"200": _NUM_REQUESTS}


@pytest.mark.slow
def test_a_client_that_connected_before_the_change_is_answered_however_slowly_it_asks(tmp_path: Path):
    """One that never asks does not hold up the end for long."""
    with (
        _socket(tmp_path / "s") as listening,
        socket.socket(socket.AF_UNIX) as slow,
        socket.socket(socket.AF_UNIX) as silent,
    ):
        server = _start(listening)
        _ready(server)
        silent.connect(str(tmp_path / "s"))
        slow.connect(str(tmp_path / "s"))
        time.sleep(0.3)  # both are accepted
        server.terminate()
        time.sleep(1)
        slow.sendall(b"GET /v1/models HTTP/1.1\r\nHost: edge\r\n\r\n")
        assert slow.recv(15) == b"HTTP/1.1 200 OK"
        assert server.wait(20) == 0
        server.stdout.close()
