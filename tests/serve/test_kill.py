"""A server that is killed at any moment leaves nothing half-written, and the next answers. `make load` kills 100."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from support.bundles import copy_bundle, nano_bundle

pytestmark = pytest.mark.slow

SAMPLES = Path(__file__).parents[2] / "nano/samples"
KILLS = int(os.environ.get("EDGEPHI_KILLS", "5"))
#: Every third kill comes while the model is loaded, the others while requests are answered.
LOADING_SHARE = 3
MOST_LOADING_S, MOST_ANSWERING_S = 1.5, 0.6


def _user(*parts: object) -> list[dict]:
    return [{"role": "user", "content": list(parts)}]


def _text(text: str) -> dict:
    return {"type": "text", "text": text}


def _image() -> dict:
    content = base64.b64encode((SAMPLES / "number.png").read_bytes()).decode()
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{content}"}}


HELLO = {"messages": _user(_text("hello")), "max_tokens": 8, "temperature": 0}
CHATS = [
    HELLO,
    {"messages": _user(_text("hello " * 2000)), "max_tokens": 200, "stream": True},
    {"messages": _user(_image(), _text("What number is shown?")), "max_tokens": 8},
]


class _Connection(http.client.HTTPConnection):
    """To a unix socket. httpx leaves its own end open where nobody listens."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(str(self._path))

    def post(self, request: httpx.Request) -> bytes:
        """The whole answer."""
        self.request("POST", request.url.path, request.read(), dict(request.headers))
        return self.getresponse().read()


@dataclass(frozen=True)
class Home:
    """Folders that are the server's own, so that all it leaves is seen."""

    root: Path

    def start(self) -> subprocess.Popen[str]:
        """Begin to start a server on a unix socket."""
        environment = {**os.environ, "TMPDIR": str(self.root / "temp"), "HOME": str(self.root / "home")}
        command = [sys.executable, "-m", "edgephi", "serve", str(self.root / "model"), "--threads", "1"]
        with (self.root / "log").open("a") as log:
            return subprocess.Popen(
                [*command, "--uds", str(self.root / "socket")],
                stdout=subprocess.PIPE, stderr=log, text=True, env=environment, cwd=self.root / "work",
            )  # fmt: skip

    def connection(self) -> contextlib.closing[_Connection]:
        return contextlib.closing(_Connection(self.root / "socket"))

    def files(self) -> dict[str, int]:
        """Every file of the model's folder and of those that must stay empty, with its size."""
        kept = ("model", "temp", "home", "work")
        return {str(path): path.stat().st_size for name in kept for path in (self.root / name).rglob("*")}

    def serving(self) -> subprocess.Popen[str]:
        """A server that is there, though a killed one has left its socket."""
        process = self.start()
        line = process.stdout.readline()
        assert line == f"serving model on unix:{self.root / 'socket'}\n", (self.root / "log").read_text()[-2000:]
        return process


def _chat(body: dict) -> httpx.Request:
    return httpx.Request("POST", "http://localhost/v1/chat/completions", json=body)


def _recording() -> httpx.Request:
    files = {"file": ("a.wav", (SAMPLES / "sentence.wav").read_bytes())}
    return httpx.Request("POST", "http://localhost/v1/audio/transcriptions", files=files)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    for name in ("temp", "home", "work"):
        (tmp_path / name).mkdir()
    copy_bundle(nano_bundle(), tmp_path / "model")
    return Home(tmp_path)


def _ask(home: Home, kind: int) -> None:
    """Send requests of one kind until the server is gone."""
    with contextlib.suppress(OSError, http.client.HTTPException), home.connection() as connection:
        while True:
            connection.post(_chat(CHATS[kind]) if kind < len(CHATS) else _recording())


def _kill_while_it_answers(home: Home, rng: random.Random) -> None:
    process = home.serving()
    asking = [threading.Thread(target=_ask, args=(home, kind)) for kind in range(len(CHATS) + 1)]
    for thread in asking:
        thread.start()
    time.sleep(rng.random() * MOST_ANSWERING_S)
    _kill(process)
    for thread in asking:
        thread.join(30)
        assert not thread.is_alive()


def _kill_while_it_loads(home: Home, rng: random.Random) -> None:
    process = home.start()
    time.sleep(rng.random() * MOST_LOADING_S)
    _kill(process)


def _kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait(10)
    process.stdout.close()


def _answer(home: Home) -> str:
    """The reply of a new server, which then ends as its owner wishes."""
    process = home.serving()
    with home.connection() as connection:
        reply = json.dumps(json.loads(connection.post(_chat(HELLO)))["choices"])
    process.terminate()
    assert process.wait(30) == 0
    process.stdout.close()
    return reply


def test_a_killed_server_leaves_nothing_and_the_next_one_answers(home: Home):
    expected, files = _answer(home), home.files()
    rng = random.Random(int(os.environ.get("EDGEPHI_KILLS_SEED", "0")))
    for number in range(KILLS):
        if number % LOADING_SHARE == 0:
            _kill_while_it_loads(home, rng)
        else:
            _kill_while_it_answers(home, rng)
        assert home.files() == files, number
    assert _answer(home) == expected
    assert not (home.root / "socket").exists()
    assert "failure" not in (home.root / "log").read_text()
