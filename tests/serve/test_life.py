"""The program's life: its sockets, TLS, systemd, reload and its end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from edgephi.base.errors import ConfigError
from edgephi_serve.connections.sockets import listen_of, open_socket
from edgephi_serve.settings import Listen, Settings
from support.bundles import copy_bundle, nano_bundle, small_bundle

HELLO = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 2}
LONG = {"messages": [{"role": "user", "content": "hello " * 3000}], "max_tokens": 1000, "stream": True}
Launch = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    """Starts the program and waits for its first line, which is kept in `first_line`."""
    opened = []

    def begin(*options: str, model: Path | None = None, **how: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "edgephi", "serve", str(model or nano_bundle()), "--threads", "1", *options]
        with (tmp_path / "errors").open("w") as errors:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, **how)
        opened.append(process)
        process.first_line = process.stdout.readline()
        assert process.first_line.startswith("serving "), (tmp_path / "errors").read_text()
        return process

    yield begin
    for process in opened:
        process.kill()
        process.wait()
        process.stdout.close()


def _url(process: subprocess.Popen[str]) -> str:
    return process.first_line.split(" on ")[1].strip()


_REFUSALS = """
import json, sys
from edgephi.cli.main import main
for options in json.loads(sys.argv[2]):
    try:
        main(["serve", sys.argv[1], *options], prog_name="edgephi")
    except SystemExit as ending:
        print(ending.code, file=sys.stderr)
"""


def _refusals(cases: list[list[str]]) -> list[str]:
    """What each start writes to stderr, then its exit code on a line of its own."""
    command = [sys.executable, "-c", _REFUSALS, str(nano_bundle()), json.dumps(cases)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == ""
    return done.stderr.splitlines()


def _ends(process: subprocess.Popen[str]) -> int:
    process.terminate()
    return process.wait(10)


@pytest.mark.slow
def test_a_unix_socket(launch, tmp_path):
    path = tmp_path / "socket"
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))  # as a killed server leaves it
    left.close()
    process = launch("--uds", str(path))
    assert process.first_line == f"serving nano on unix:{path}\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), base_url="http://any-name") as client:
        assert client.post("/v1/chat/completions", json=HELLO).status_code == 200
    with pytest.raises(ConfigError, match="another server listens there"):
        open_socket(Listen(uds=path))
    assert _ends(process) == 0
    assert not path.exists()


def test_a_file_that_is_no_socket_is_left_alone(tmp_path):
    path = tmp_path / "notes"
    path.write_text("mine")
    with pytest.raises(ConfigError, match="is there and no socket"):
        open_socket(Listen(uds=path))
    assert path.read_text() == "mine"


_AS_SYSTEMD = """
import os, sys
os.dup2(int(os.environ["PASSED"]), 3)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.executable, [sys.executable, "-m", "edgephi", *sys.argv[1:]])
"""


def test_systemd_hands_over_its_socket_and_gets_word(tmp_path):
    command = [sys.executable, "-c", _AS_SYSTEMD, "serve", str(nano_bundle()), "--threads", "1"]
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified,
        socket.create_server(("127.0.0.1", 0)) as passed,
    ):
        notified.bind(str(tmp_path / "notify"))
        notified.settimeout(20)
        url = f"http://127.0.0.1:{passed.getsockname()[1]}"
        environment = {
            **os.environ, "LISTEN_FDS": "1", "NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000",
            "PASSED": str(passed.fileno()),
        }  # fmt: skip
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, text=True, pass_fds=[passed.fileno()]
        ) as process:
            try:
                assert notified.recv(200).decode().splitlines() == ["READY=1", "STATUS=serving nano"]
                assert process.stdout.readline() == f"serving nano on {url}\n"
                assert httpx.get(f"{url}/health").status_code == 200
                assert notified.recv(200) == b"WATCHDOG=1"
                process.terminate()
                while notified.recv(200) != b"STOPPING=1":
                    pass
                assert process.wait(10) == 0
            finally:
                process.kill()


_WITH_A_SCRIPT = """
import sys
from pathlib import Path
from edgephi import Model
from edgephi_serve.server import Server
from edgephi_serve.settings import Listen, Settings, Times
from support.serve_thread import ScriptedModel

folder = Path(sys.argv[1])
settings = Settings(listen=Listen(port=0), times=Times(stall_s=0.3))
report = lambda line: print(line, flush=True)
Server(folder, lambda: ScriptedModel(Model.load(folder, threads=1)), settings, report).run()
"""


@pytest.mark.slow
def test_a_server_whose_work_is_stuck_gives_systemd_no_sign_of_life(tmp_path):
    """So systemd starts it again. Signs come again if the work goes on after all."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(str(tmp_path / "notify"))
        environment = {
            **os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000",
            "PYTHONPATH": str(Path(__file__).parents[1]),
        }  # fmt: skip
        command = [sys.executable, "-c", _WITH_A_SCRIPT, str(nano_bundle())]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
            try:
                url = process.stdout.readline().split()[-1]
                asked = {"messages": [{"role": "user", "content": "hang 2"}]}
                thread = threading.Thread(target=httpx.post, args=(f"{url}/v1/chat/completions",), kwargs={
                    "json": asked, "timeout": 30})  # fmt: skip
                thread.start()
                while httpx.get(f"{url}/health").json() != {"status": "stuck"}:
                    time.sleep(0.02)
                notified.setblocking(False)
                with suppress(BlockingIOError):
                    while notified.recv(200):
                        pass
                time.sleep(0.5)  # five periods of the signs
                with pytest.raises(BlockingIOError):
                    notified.recv(200)
                assert thread.is_alive()
                thread.join()
                notified.settimeout(20)
                assert notified.recv(200) == b"WATCHDOG=1"
            finally:
                process.kill()


def test_a_socket_of_systemd_that_others_reach_needs_a_key():
    with socket.create_server(("0.0.0.0", 0)) as everyone, socket.socket(socket.AF_UNIX) as local:
        local.bind("\0edgephi-test")
        found = listen_of([local, everyone], Listen())
        assert (found.host, found.is_local) == ("0.0.0.0", False)
        with pytest.raises(ConfigError, match="--no-auth"):
            Settings(listen=found)


@pytest.mark.slow
def test_tls(launch, certificate):
    cert, key = certificate
    process = launch("--port", "0", "--tls-cert", str(cert), "--tls-key", str(key))
    url = _url(process)
    assert url.startswith("https://127.0.0.1:")
    with httpx.Client(base_url=url, verify=ssl.create_default_context(cafile=str(cert))) as client:
        assert client.post("/v1/chat/completions", json=HELLO).status_code == 200
        assert client.get("/v1/models", headers={"Origin": url}).status_code == 200
        assert client.get("/v1/models", headers={"Origin": url.replace("https", "http")}).status_code == 403
    with pytest.raises(httpx.HTTPError):
        httpx.get(url.replace("https", "http"))
    old = ssl.create_default_context(cafile=str(cert))
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_2
    assert httpx.get(f"{url}/livez", verify=old).status_code == 200
    assert _ends(process) == 0


def test_what_cannot_be_started_is_one_line(certificate, tmp_path):
    cert, key = map(str, certificate)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        cases = [
            (["--port", str(taken.getsockname()[1])], "cannot be listened on"),
            (["--host", "0.0.0.0"], "--no-auth"),
            (["--host", "no-such-host.invalid"], "--no-auth"),
            (["--host", "no-such-host.invalid", "--no-auth"], "cannot be listened on"),
            (["--port", "99999"], "port is 99999"),
            (["--tls-cert", cert], "--tls-key"),
            (["--port", "0", "--tls-cert", key, "--tls-key", cert], "not usable with its key"),
            (["--queue", "-1"], "queue is -1"),
            (["--ping", "0"], "ping_s is 0"),
            (["--api-key-file", str(tmp_path / "none")], "cannot be read"),
            (["--cors-origin", "*"], "--cors-origin"),
            (["--allow-host", "a/b"], "--allow-host"),
        ]
        lines = _refusals([options for options, _ in cases])
    assert lines[1::2] == ["2"] * len(cases), lines
    for (_, part), line in zip(cases, lines[::2], strict=True):
        assert line.startswith("error: ")
        assert part in line


def test_keys_and_a_changed_folder_are_read_again_and_a_bad_folder_is_not(launch, tmp_path):
    folder, keys = copy_bundle(nano_bundle(), tmp_path / "model"), tmp_path / "keys"
    keys.write_text("me:first-key-of-mine\n")
    process = launch("--port", "0", "--api-key-file", str(keys), model=folder)
    first, second = ({"Authorization": f"Bearer {name}-key-of-mine"} for name in ("first", "second"))
    with httpx.Client(base_url=_url(process), timeout=30, headers=second) as client:

        def fingerprint() -> str:
            return client.post("/v1/chat/completions", json=HELLO).json()["system_fingerprint"]

        def reload() -> str:
            process.send_signal(signal.SIGHUP)
            return process.stdout.readline()

        assert client.get("/health").status_code == 200
        refused = httpx.get(f"{_url(process)}/v1/models")
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
        assert client.get("/v1/models", headers=first).status_code == 200
        keys.write_text("me:second-key-of-mine\n")
        assert reload() == "the keys were read again\n"
        assert client.get("/v1/models", headers=first).status_code == 401
        assert client.get("/v1/models", headers={"Authorization": "", "X-Api-Key": "second-key-of-mine"}).is_success
        before = fingerprint()
        folder.rename(tmp_path / "old")
        (tmp_path / "model").mkdir()
        (tmp_path / "model/edgephi.json").write_text("{}")
        assert reload().startswith("not reloaded: ")
        assert fingerprint() == before
        shutil.rmtree(folder)
        copy_bundle(small_bundle(), folder)
        running: list[str] = []

        def stream() -> None:
            with httpx.Client(base_url=_url(process), timeout=30, headers=second) as own:
                running.append(own.post("/v1/chat/completions", json={**LONG, "max_tokens": 40}).text)

        thread = threading.Thread(target=stream)
        thread.start()
        while "edgephi_requests_running 1.0" not in client.get("/metrics").text:
            assert thread.is_alive()
        assert reload() == "serving model, loaded again\n"
        thread.join()
        assert running[0].endswith("data: [DONE]\n\n")  # it was not cut
        assert fingerprint() != before
        assert client.get("/health").status_code == 200
    assert _ends(process) == 0


@pytest.mark.slow
def test_a_second_signal_ends_it_at_once(launch):
    process = launch("--port", "0", "--drain", "60")
    with httpx.Client(base_url=_url(process), timeout=30) as client:
        with client.stream("POST", "/v1/chat/completions", json=LONG) as answer:
            lines = answer.iter_lines()
            next(lines)
            process.terminate()
            time.sleep(0.1)
            refused = httpx.get(f"{_url(process)}/health")
            assert (refused.status_code, refused.json()) == (503, {"status": "draining"})
            began_s = time.monotonic()
            process.terminate()
            data = [line for line in lines if line.startswith("data: ")]
        assert data[-1] == "data: [DONE]" or json.loads(data[-1][6:])["error"]["code"] == "server_shutting_down"
    assert process.wait(5) == 0
    assert time.monotonic() - began_s < 3


@pytest.mark.slow
def test_a_signal_while_it_loads_ends_it(tmp_path):
    command = [sys.executable, "-m", "edgephi", "serve", str(nano_bundle()), "--uds", str(tmp_path / "s")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        while not (tmp_path / "s").exists():
            time.sleep(0.005)
        time.sleep(0.03)
        process.terminate()
        assert process.wait(10) in (0, 143)  # before the loop runs, as of any program
