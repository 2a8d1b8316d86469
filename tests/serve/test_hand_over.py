"""Servers follow each other on one socket, as systemd's units let them: no request is refused."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from support.bundles import nano_bundle

_AS_SYSTEMD = """
import os, sys
os.dup2(int(os.environ["PASSED"]), 3)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.executable, [sys.executable, "-m", "edgephi", *sys.argv[1:]])
"""
_NUM_REQUESTS = 1000
_NUM_CLIENTS = 4


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


def _ask(path: Path) -> str:
    """The answer's status, on a connection of its own."""
    asked = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}
    try:
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), timeout=120) as client:
            return str(client.post("http://edge/v1/chat/completions", json=asked).status_code)
    except httpx.HTTPError as error:
        return repr(error)


def _asked(path: Path, num_requests: int) -> tuple[list[threading.Thread], Counter[str], list[int]]:
    """Clients that ask until so many requests were answered in all."""
    answers: Counter[str] = Counter()
    left = [num_requests]
    lock = threading.Lock()

    def ask() -> None:
        while True:
            with lock:
                if not left[0]:
                    return
                left[0] -= 1
            answer = _ask(path)
            with lock:
                answers[answer] += 1

    threads = [threading.Thread(target=ask) for _ in range(_NUM_CLIENTS)]
    for thread in threads:
        thread.start()
    return threads, answers, left


def _swap(path: Path, listening: socket.socket, num_requests: int) -> Counter[str]:
    """A restart, then a change with two servers for a moment, spread over the requests."""
    server = _start(listening)
    _ready(server)
    threads, answers, left = _asked(path, num_requests)
    while left[0] > num_requests * 2 // 3:
        time.sleep(0.02)
    _end(server)  # requests wait in the socket
    server = _start(listening)
    _ready(server)
    while left[0] > num_requests // 3:
        time.sleep(0.02)
    bridge = _start(listening)
    _ready(bridge)
    _end(server)
    server = _start(listening)
    _ready(server)
    _end(bridge)
    for thread in threads:
        thread.join(300)
    _end(server)
    return answers


def test_a_change_of_servers_refuses_no_request(tmp_path: Path):
    with _socket(tmp_path / "s") as listening:
        assert _swap(tmp_path / "s", listening, 30) == {"200": 30}


@pytest.mark.slow
def test_a_change_of_servers_refuses_none_of_1000_requests(tmp_path: Path):
    with _socket(tmp_path / "s") as listening:
        assert _swap(tmp_path / "s", listening, _NUM_REQUESTS) == {"200": _NUM_REQUESTS}
