"""What takes long: silence, waiting, and limits of time."""

from __future__ import annotations

import gc
import itertools
import json
import socket
import ssl
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from edgephi import ArtifactError, CapacityError, Model
from edgephi_serve.connections.keys import Keys
from edgephi_serve.settings import Limits, Listen, Settings, Times
from support.bundles import nano_bundle
from support.serve_thread import ScriptedModel, ServeThread, body, request_bytes

NANO = Path(__file__).parents[2] / "nano/samples"
SLOW = pytest.mark.slow


@pytest.fixture(scope="module")
def nano() -> Iterator[Model]:
    with Model.load(nano_bundle(), threads=1) as model:
        yield model


def _started(running: ServeThread, script: str) -> threading.Thread:
    """A request that is in the queue, or has its turn if nobody is before it."""
    before = running.engine.running + running.engine.waiting
    thread = threading.Thread(target=running.ask, args=(script,))
    thread.start()
    running.until(lambda: running.engine.running + running.engine.waiting == before + 1)
    if not before:
        running.until(lambda: running.engine.running == 1)
    return thread


@pytest.mark.parametrize(
    ("script", "comment"),
    [
        ("hang 1", ": waiting"),
        pytest.param("encode a 2 1", ": encode 1/2", marks=SLOW),
        pytest.param("prefill a 2 1", ": prefill 1/2", marks=SLOW),
        pytest.param("write 2 1", ": waiting", marks=SLOW),
    ],
)
def test_no_silence_is_longer_than_the_ping(serve, script, comment):
    running = serve(ping_s=0.1)
    lines = running.lines(f"{script};write 1 0")
    times = [0.0, *(second for second, _ in lines)]
    assert max(after - before for before, after in itertools.pairwise(times)) < 0.7, lines
    assert lines[-1][1] == "data: [DONE]"
    assert [line for _, line in lines].count(comment) > 2
    assert {line[:2] for _, line in lines} == {"da", ": "}


def test_the_pings_are_closer_than_what_clients_and_proxies_take_for_the_end():
    """Many give up after 30 or 60 seconds without a byte; OpenAI's clients after 600 without a status."""
    assert Times().ping_s <= 5
    assert Times().commit_s <= 100
    assert Times().newline_s <= 15


def test_a_request_that_waits_is_not_silent_either(serve):
    running = serve(ping_s=0.1)
    first = _started(running, "hold")
    threading.Timer(0.6, running.model.gate.set).start()
    lines = running.lines("write 1 0")
    first.join()
    assert lines[0][1].startswith(": queued 1")
    assert len([line for _, line in lines if line.startswith(": queued")]) > 1


def test_a_long_answer_that_is_not_streamed_is_kept_alive_by_white_space(serve):
    running = serve(commit_s=0.2, newline_s=0.1)
    with running.client() as client, client.stream("POST", "/v1/chat/completions", json=body("hang 0.5")) as answer:
        pieces = list(answer.iter_bytes())
    assert answer.status_code == 200
    assert pieces[0] == b"\n"
    assert len(pieces) >= 4
    assert json.loads(b"".join(pieces))["choices"][0]["finish_reason"] == "stop"


def test_a_failure_after_that_cuts_the_body(serve):
    running = serve(commit_s=0.1)
    with pytest.raises(httpx.RemoteProtocolError):
        running.ask("hang 0.3;fail")
    running.until(running.has_left)


def test_a_failure_in_a_stream_is_its_last_event(serve):
    running = serve()
    data = [line for _, line in running.lines("write 2 0;fail") if line.startswith("data:")]
    assert json.loads(data[-1][6:])["error"]["code"] == "internal"
    assert "canary" not in "".join(data)


def test_a_reply_ends_with_its_time(serve):
    running = serve(request_s=0.3)
    answer = running.ask("write 1000 0.02").json()["choices"][0]
    assert answer["finish_reason"] == "length"
    assert answer["message"]["content"].startswith("0 1 2 ")
    *chunks, done = [line for _, line in running.lines("write 1000 0.02") if line.startswith("data: ")]
    reasons = [json.loads(chunk[6:])["choices"][0]["finish_reason"] for chunk in chunks]
    assert reasons == [None] * (len(reasons) - 1) + ["length"]
    assert done == "data: [DONE]"


def test_a_recording_may_take_longer_than_a_reply(nano):
    """Whatever its length, it is written down to its end."""
    files = {"file": ("a.wav", (NANO / "sentence.wav").read_bytes())}
    with ServeThread(nano, Settings(times=Times(request_s=0.001))) as running, running.client() as client:
        assert running.ask("Repeat: the small red house").json()["choices"][0]["finish_reason"] == "length"
        answer = client.post("/v1/audio/transcriptions", files=files)
    assert answer.json()["text"] == "the small cat likes my red circle"


def test_waiting_ends_with_an_error(serve):
    running = serve(queue_s=0.2)
    first = _started(running, "hold")
    answer = running.ask("write 1 0")
    running.model.gate.set()
    first.join()
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "server_is_overloaded")
    assert running.model.begun == ["hold"]


def test_the_time_of_a_reply_does_not_begin_while_it_waits(serve):
    running = serve(request_s=1)
    first = _started(running, "hold")  # ends by its time
    answer = running.ask("write 3 0.2").json()["choices"][0]
    first.join()
    assert (answer["finish_reason"], answer["message"]["content"]) == ("stop", "0 1 2 ")


@contextmanager
def _taking_nothing(running: ServeThread) -> Iterator[socket.socket]:
    """A connection whose buffers are small at both ends, so that a short answer fills them."""
    running.listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    with running.raw() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        yield raw


@pytest.mark.parametrize("is_stream", [True, False])
def test_a_client_that_takes_nothing_is_cut(serve, is_stream):
    """Also one whose answer is whole: closing its connection would wait for it for ever."""
    running = serve(reader_s=0.3)
    with _taking_nothing(running) as raw:
        raw.sendall(request_bytes(json.dumps(body("write 100000 0", stream=is_stream)).encode()))
        running.until(lambda: running.model.begun)
        running.until(running.has_left, 30)
        running.until(lambda: not running.connections, 30)


@SLOW
def test_a_client_that_takes_nothing_by_tls_is_cut(serve, certificate):
    cert, key = certificate
    running = serve(reader_s=0.3, listen=Listen(tls_cert=cert, tls_key=key))
    context = ssl.create_default_context(cafile=str(cert))
    with _taking_nothing(running) as raw, context.wrap_socket(raw, server_hostname="127.0.0.1") as secure:
        secure.sendall(request_bytes(json.dumps(body("write 100000 0", stream=True)).encode()))
        running.until(lambda: running.model.begun)
        running.until(running.has_left, 30)
        running.until(lambda: not running.connections, 30)


@SLOW
def test_a_slow_client_gets_its_whole_answer(serve):
    running = serve(reader_s=0.3)
    content = b""
    with running.raw() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        raw.settimeout(60)
        raw.sendall(request_bytes(json.dumps(body("write 1000000 0")).encode(), "Connection: close"))
        while piece := raw.recv(65536):
            content += piece
            time.sleep(0.03)
    assert b" 999999 " in content


@pytest.mark.parametrize("is_stream", [True, False])
def test_a_request_whose_client_left_the_queue_is_never_begun(serve, is_stream):
    running = serve()
    first = _started(running, "hold")
    with running.raw() as raw:
        raw.sendall(request_bytes(json.dumps(body("write 1 0", stream=is_stream)).encode()))
        running.until(lambda: running.engine.waiting == 1)
    running.until(lambda: running.engine.waiting == 0)
    running.model.gate.set()
    first.join()
    running.until(running.has_left)
    assert running.model.begun == ["hold"]


def test_requests_are_served_in_the_order_in_which_they_came(serve):
    running = serve()
    scripts = ["hold", *(f"write {number} 0" for number in range(1, 6))]
    threads = [_started(running, script) for script in scripts]
    running.model.gate.set()
    for thread in threads:
        thread.join()
    assert running.model.begun == scripts


def test_a_server_whose_work_is_stuck_is_not_healthy(serve):
    running = serve(stall_s=0.2)
    thread = threading.Thread(target=running.ask, args=("hang 0.5",))
    with running.client() as client:
        assert client.get("/health").status_code == 200
        thread.start()
        running.until(lambda: client.get("/health").status_code == 503)
        assert client.get("/readyz").json() == {"status": "stuck"}
        assert client.get("/livez").status_code == 200
        thread.join()
        assert client.get("/health").status_code == 200


def test_while_the_model_loads_only_liveness_is_there(nano):
    with ServeThread(ScriptedModel(nano), Settings(), is_loaded=False) as running, running.client() as client:
        for path in ("/v1/models", "/v1/models/nano"):
            answer = client.get(path)
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "model_loading")
        assert client.get("/health").json() == {"status": "loading"}
        assert client.get("/health").status_code == 503
        assert client.get("/livez").status_code == 200
        answer = client.post("/v1/chat/completions", json=body("write 1 0"))
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        running.loop.call_soon_threadsafe(running.engine.become_ready, running.model)
        running.until(lambda: client.get("/health").status_code == 200)
        assert client.post("/v1/chat/completions", json=body("write 1 0")).status_code == 200


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (ArtifactError("weights/canary.bin: damaged"), 500, "model_damaged"),
        (RuntimeError("canary"), 500, "internal"),
        (MemoryError("canary"), 503, "server_is_overloaded"),
        (CapacityError("no memory canary", reason="memory"), 503, "server_is_overloaded"),
        (CapacityError("the prompt is too long", reason="context"), 400, "context_length_exceeded"),
        (CapacityError("the image is too large", reason="media"), 400, "media_too_large"),
    ],
)
def test_each_failure_has_its_status(serve, capfd, failure, status, code):
    running = serve()
    running.model.failure = failure
    answer = running.ask("fail")
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    log = capfd.readouterr().err
    assert "canary" not in answer.text + log
    assert ("failure=" in log) is (status == 500)
    with running.client() as client:
        assert client.get("/health").status_code == (503 if code == "model_damaged" else 200)


def test_what_a_failed_request_held_is_freed_at_once(serve):
    """Without a collection of cycles: large images that are refused one after the other would be kept until then."""
    running = serve()
    failure = CapacityError("the image is too large", reason="media")
    reference = weakref.ref(failure)
    running.model.failure = failure
    gc.collect()
    gc.disable()
    try:
        assert running.ask("fail").status_code == 400
        del running.model.failure, failure
        running.until(lambda: reference() is None)
    finally:
        gc.enable()


def test_a_full_queue_refuses_before_the_body_is_read(serve):
    running = serve(limits={"queue": 1})
    threads = [_started(running, "hold") for _ in range(2)]
    with running.raw() as raw:
        raw.sendall(request_bytes(b"", path="/v1/chat/completions").replace(b"Length: 0", b"Length: 1000000"))
        assert raw.recv(100).startswith(b"HTTP/1.1 429 ")
    running.model.gate.set()
    for thread in threads:
        thread.join()


def test_one_key_takes_half_of_the_queue_at_most(nano):
    running = ServeThread(ScriptedModel(nano), Settings(limits=Limits(queue=2)))
    running.keys = Keys([("a", "the-key-of-a"), ("b", "the-key-of-b")])

    def ask(key: str, script: str) -> int:
        with running.client(headers={"Authorization": f"Bearer {key}"}) as client:
            return client.post("/v1/chat/completions", json=body(script)).status_code

    with running:
        threads = [threading.Thread(target=ask, args=("the-key-of-a", "hold")) for _ in range(2)]
        for thread in threads:
            thread.start()
        running.until(lambda: running.engine.running + running.engine.waiting == 2)
        assert ask("the-key-of-a", "write 1 0") == 429
        threading.Timer(0.1, running.model.gate.set).start()
        assert ask("the-key-of-b", "write 1 0") == 200
        for thread in threads:
            thread.join()
