"""What a request must not be able to do, and what becomes of one that cannot be answered."""

from __future__ import annotations

import base64
import hmac
import json
import os
import re
import socket
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

import edgephi_serve
from edgephi import ConfigError
from edgephi_serve.connections.keys import Keys, read_keys
from edgephi_serve.settings import Access, Listen, Settings
from support.serve_process import end, launch

HELLO = [{"role": "user", "content": "hello"}]
LONG = {"messages": [{"role": "user", "content": "hello " * 3000}], "max_tokens": 1000, "stream": True}


def _ask(client: httpx.Client, **request) -> httpx.Response:
    return client.post("/v1/chat/completions", json={"messages": HELLO, "max_tokens": 2, **request})


#: Spellings of an address on this machine or of a file, as they get past filters that look for `http://127.0.0.1`.
ADDRESSES = [
    "http://127.0.0.1:{port}/a.png", "https://127.0.0.1:{port}/", "HTTP://127.0.0.1:{port}/", "//127.0.0.1:{port}/",
    "http://localhost:{port}/", "http://LOCALHOST:{port}/", "http://localhost.:{port}/", "http://0:{port}/",
    "http://0.0.0.0:{port}/", "http://127.1:{port}/", "http://127.0.1:{port}/", "http://127.000.000.001:{port}/",
    "http://0x7f000001:{port}/", "http://0x7f.0.0.1:{port}/", "http://2130706433:{port}/", "http://017700000001:{port}/",
    "http://0177.0.0.1:{port}/", "http://[::1]:{port}/", "http://[::]:{port}/", "http://[::ffff:127.0.0.1]:{port}/",
    "http://[::ffff:7f00:1]:{port}/", "http://[0:0:0:0:0:0:0:1]:{port}/", "http://127.0.0.1.nip.io:{port}/",
    "http://user@127.0.0.1:{port}/" + "a" * 200, "http://example.org@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}#@example.org/", "http://example.org\\@127.0.0.1:{port}/", "http:127.0.0.1:{port}/",
    "http:/127.0.0.1:{port}/", "http:\\\\127.0.0.1:{port}/", "\thttp://127.0.0.1:{port}/", " http://127.0.0.1:{port}/",
    "ht\ntp://127.0.0.1:{port}/", "http://\u2460\u2461\u2466.0.0.1:{port}/", "http://127\u30020\u30020\u30021:{port}/",
    "ws://127.0.0.1:{port}/", "ftp://127.0.0.1:{port}/", "gopher://127.0.0.1:{port}/", "dict://127.0.0.1:{port}/",
    "blob:http://127.0.0.1:{port}/", "view-source:http://127.0.0.1:{port}/", "jar:file:///etc/hostname",
    "file:///etc/hostname", "FILE:///etc/hostname", "file://localhost/etc/hostname", "/etc/hostname", "etc/hostname",
    "../../etc/hostname", "/proc/self/environ", "\\\\127.0.0.1\\share\\a.png",
]  # fmt: skip


def test_no_address_is_opened(client):
    """Of an image or of a recording: whoever accepts connections there sees none."""
    with socket.create_server(("127.0.0.1", 0)) as accepting:
        for address in ADDRESSES:
            url = address.format(port=accepting.getsockname()[1])
            image = [{"type": "input_image", "image_url": url}]
            answers = [client.post("/v1/responses", json={"input": [{"role": "user", "content": image}]})]
            for kind in ("image_url", "audio_url"):
                parts = [{"type": kind, kind: {"url": url}}]
                answers.append(_ask(client, messages=[{"role": "user", "content": parts}]))
            for answer in answers:
                assert (answer.status_code, answer.json()["error"]["code"]) == (400, "unsupported_url"), url
        accepting.settimeout(0.2)
        with pytest.raises(TimeoutError):
            accepting.accept()


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Host": ""}, {"Host": "127.0.0.1.evil.example"}])
def test_a_rebound_name_is_refused(client, headers):
    answer = client.get("/v1/models", headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "host_not_allowed")


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1"])
def test_another_web_page_is_refused(client, origin):
    answer = client.post("/v1/chat/completions", json={"messages": HELLO}, headers={"Origin": origin})
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "origin_not_allowed")
    assert "access-control-allow-origin" not in answer.headers


def test_its_own_page_may_ask(server, client):
    answer = client.get("/v1/models", headers={"Origin": server.url})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        (b"{", 400, None), (b"[]", 400, None), (b"", 400, None), (b"\xff", 400, None), (b"[" * 100_000, 400, None),
        (b"{}", 400, None), (b'{"messages": []}', 400, "messages"),
        (b'{"messages": [{"role": "function", "content": "a"}]}', 400, "messages[0].role"),
        (b'{"messages": [{"role": "user", "content": [{"type": "file"}]}]}', 400, "messages[0].content[0].type"),
        (b'{"messages": [{"role": "user", "content": "a"}], "temperature": 3}', 400, "temperature"),
        (b'{"messages": [{"role": "user", "content": "a"}], "n": 9}', 400, "n"),
        (b'{"messages": [{"role": "user", "content": "a"}], "top_logprobs": 1}', 400, "top_logprobs"),
        (b'{"messages": [{"role": "user", "content": "a"}], "stream_options": {}}', 400, "stream_options"),
        (b'{"messages": [{"role": "user", "content": "a"}], "modalities": ["audio"]}', 400, "modalities"),
        (b'{"messages": [{"role": "user", "content": "a"}], "tool_choice": "required"}', 400, "tool_choice"),
    ],
)  # fmt: skip
def test_a_bad_body_is_one_clear_error(client, body, status, param):
    answer = client.post("/v1/chat/completions", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param), answer.text
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert answer.headers["x-should-retry"] == "false"


def test_a_refusal_keeps_its_status_in_a_stream(client):
    answer = _ask(client, messages=[{"role": "user", "content": "a " * 200_000}], stream=True)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "context_length_exceeded")


def test_an_image_too_large_is_refused_by_its_header(server, client):
    """It takes the memory of its 5 MB of content at most a few times, and not that of its pixels."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return len(content).to_bytes(4, "big") + name + content + zlib.crc32(name + content).to_bytes(4, "big")

    shape = (40_000).to_bytes(4, "big") * 2 + b"\x08\x00\x00\x00\x00"
    pixels = zlib.compress(bytes(5_000_000), level=0)
    image = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", shape) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    url = f"data:image/png;base64,{base64.b64encode(image).decode()}"
    small = base64.b64encode((Path(__file__).parents[2] / "nano/samples/number.png").read_bytes()).decode()

    def ask(address: str) -> httpx.Response:
        parts = [{"type": "image_url", "image_url": {"url": address}}]
        return _ask(client, messages=[{"role": "user", "content": parts}])

    assert ask(small).status_code == 200  # what every first image takes is not counted
    server.reset_peak()
    before = server.state()
    answer = ask(url)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "media_too_large")
    assert server.state().peak_kib - before.rss_kib < 50 * 1024


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/chat/completions", 405, "method_not_allowed"), ("POST", "/v1/embeddings", 404, "not_supported"),
        ("POST", "/v1/chat/completion", 404, "unknown_url"), ("GET", "/v1/models/other", 404, "model_not_found"),
        ("GET", "/page/../cli.py", 404, "unknown_url"), ("GET", "/page/.hidden", 404, "unknown_url"),
    ],
)  # fmt: skip
def test_an_unknown_address_is_an_error_of_openais_shape(client, method, path, status, code):
    answer = client.request(method, path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


@pytest.mark.parametrize("path", ["/health", "/v1/health", "/livez", "/readyz", "/v1/models", "/models", "/metrics"])
def test_addresses_for_operators_answer(client, path):
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.headers["x-request-id"].startswith("req_")


def test_the_page_lets_nothing_else_in_and_is_asked_for_again_after_an_upgrade(client):
    page = client.get("/")
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self';")
    assert re.search(r"http|\*|unsafe", policy) is None  # an image elsewhere would carry words of the chat there
    names = re.findall(r'(?:src|href)="/?(page/[^"]+)"', page.text)
    assert len(names) > 1
    files = [f"page/{path.name}" for path in Path(edgephi_serve.__file__).with_name("page").iterdir()]
    assert set(names) < set(files)
    for name in ("", *files):  # also the modules that others import: an old one of them would break a new page
        file = client.get(f"/{name}")
        assert (file.status_code, file.headers["cache-control"]) == (200, "no-cache"), name
        assert client.get(f"/{name}", headers={"If-None-Match": file.headers["etag"]}).status_code == 304
        assert client.get(f"/{name}", headers={"If-None-Match": '"old"'}).content == file.content
        assert client.head(f"/{name}").content == b""


def _running(client: httpx.Client) -> dict[str, float]:
    lines = [line.split() for line in client.get("/metrics").text.splitlines() if line.startswith("edgephi_requests_")]
    return {
        name: float(value) for name, value in lines if name in ("edgephi_requests_running", "edgephi_requests_waiting")
    }


def _until(client: httpx.Client, condition, seconds: float = 10) -> None:
    ends = time.monotonic() + seconds
    while not condition(_running(client)):
        assert time.monotonic() < ends, _running(client)
        time.sleep(0.02)


@pytest.mark.parametrize("is_stream", [True, False])
def test_a_client_that_leaves_stops_the_work(server, client, is_stream):
    with socket.create_connection(httpx.URL(server.url).netloc.decode().split(":")) as raw:
        body = json.dumps({**LONG, "stream": is_stream}).encode()
        head = "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        head += f"Content-Length: {len(body)}\r\n\r\n"
        raw.sendall(head.encode() + body)
        _until(client, lambda now: now["edgephi_requests_running"] == 1)
    _until(client, lambda now: now["edgephi_requests_running"] == 0, seconds=2)
    assert _ask(client).status_code == 200


def test_a_full_queue_says_when_to_come_again(server, client):
    answers: list[int] = []
    hold = threading.Event()

    def leave_open() -> None:
        with server.client() as own, own.stream("POST", "/v1/chat/completions", json=LONG) as answer:
            answers.append(answer.status_code)
            hold.wait(20)

    threads = [threading.Thread(target=leave_open) for _ in range(3)]
    for thread in threads:
        thread.start()
    _until(client, lambda now: sum(now.values()) == 3)
    refused = _ask(client)
    hold.set()
    for thread in threads:
        thread.join(20)
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "slow_down")
    assert 1 <= int(refused.headers["retry-after"]) <= 120
    _until(client, lambda now: sum(now.values()) == 0)
    assert _ask(client).status_code == 200


@pytest.mark.slow
def test_sigterm_ends_an_open_stream_with_a_last_event(start):
    running = start("--drain", "0.2")
    with running.client() as client, client.stream("POST", "/v1/chat/completions", json=LONG) as answer:
        lines = answer.iter_lines()
        next(lines)
        running.process.terminate()
        last = [line for line in lines if line.startswith("data: ")][-1]
    assert last == "data: [DONE]" or json.loads(last[6:])["error"]["code"] == "server_shutting_down"
    assert running.process.wait(5) == 0


def test_a_key_file_that_others_may_write_is_refused(tmp_path):
    file = tmp_path / "keys"
    file.write_text("a-long-enough-key\n")
    os.chmod(file, 0o666)
    with pytest.raises(ConfigError, match="others may write it"):
        read_keys(file, None)


def test_all_keys_are_compared(monkeypatch):
    keys = Keys([("a", "key-number-one"), ("b", "key-number-two")])
    sizes: list[tuple[int, int]] = []

    def compared(one: bytes, other: bytes, compare: Callable[[bytes, bytes], bool] = hmac.compare_digest) -> bool:
        sizes.append((len(one), len(other)))
        return compare(one, other)

    monkeypatch.setattr(hmac, "compare_digest", compared)
    for key in ("key-number-one", "key-number-two", "key", "x" * 5000, "", None):
        keys.name_of(key)
    assert sizes == [(32, 32)] * 12  # of every length, with each known key, and also behind the right one
    monkeypatch.undo()
    assert [keys.name_of(key) for key in ("key-number-one", "key-number-two", "key", "", None)] == [
        "a",
        "b",
        None,
        None,
        None,
    ]
    assert not any(keys.name_of(f"key-number-{number}") for number in range(3000))


def test_other_machines_need_a_key():
    with pytest.raises(ConfigError, match="--no-auth"):
        Settings(listen=Listen(host="0.0.0.0"))
    assert Settings(listen=Listen(host="0.0.0.0"), access=Access(no_auth=True)).access.no_auth


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "phi.lan"}, 200), ({"Host": "PHI.lan:80"}, 200), ({"Host": "localhost"}, 200),
        ({"Host": "[::1]:8080"}, 200), ({"Host": "phi.lan.evil"}, 403), ({"Host": "127.0.0.2"}, 403),
        ({"Host": "0.0.0.0"}, 403), ({"Host": "evil-localhost"}, 403), ({"Host": "evil.phi.lan"}, 403),
        ({"Host": "localhost@evil"}, 403), ({"Host": "phi.lan:80:80"}, 403),
        ({"Origin": "https://chat.example"}, 200), ({"Origin": "https://chat.example.evil"}, 403),
        ({"Origin": "http://chat.example"}, 403), ({"Origin": "https://chat.example:8443"}, 403),
        ({"Origin": "null"}, 403), ({"Origin": ""}, 403), ({"Host": "phi.lan", "Origin": "http://phi.lan"}, 200),
        ({"Host": "phi.lan", "Origin": "http://localhost"}, 403),
    ],
)  # fmt: skip
def test_names_and_pages_that_the_owner_allows(owned, headers, status):
    with owned.client() as client:
        answer = client.get("/v1/models", headers=headers)
    assert answer.status_code == status
    origin = headers.get("Origin")
    allowed = origin if origin == "https://chat.example" else None
    assert answer.headers.get("access-control-allow-origin") == allowed
    assert "access-control-allow-credentials" not in answer.headers


def test_a_page_that_is_allowed_may_ask_beforehand(owned):
    with owned.client() as client:
        asked = {"Origin": "https://chat.example", "Access-Control-Request-Method": "POST"}
        answer = client.options("/v1/chat/completions", headers=asked)
        assert answer.status_code == 204
        assert "POST" in answer.headers["access-control-allow-methods"]
        assert "authorization" in answer.headers["access-control-allow-headers"]
        assert client.options("/v1/models", headers={**asked, "Origin": "https://evil.example"}).status_code == 403


@pytest.fixture(scope="module")
def owned(tmp_path_factory):
    """A server whose owner has chosen much."""
    chosen = ["--allow-host", "phi.lan", "--cors-origin", "https://chat.example", "--strict", "--max-context", "2000"]
    running = launch(tmp_path_factory.mktemp("owned") / "log", *chosen)
    yield running
    end(running)


def test_what_is_unknown_is_an_error_where_the_owner_is_strict(owned):
    with owned.client() as client:
        assert client.get("/v1/models").json()["data"][0]["max_model_len"] == 2000
        assert _ask(client).status_code == 200
        foreign = _ask(client, model="gpt-x")
        assert (foreign.status_code, foreign.json()["error"]["code"]) == (404, "model_not_found")
        unknown = _ask(client, keep_alive=3)
        assert (unknown.status_code, unknown.json()["error"]["param"]) == (400, "keep_alive")
        assert _ask(client, user="me").status_code == 200
        form = {"files": {"file": ("a", b"RIFF")}, "data": {"prompt": "x"}}
        refused = client.post("/v1/audio/transcriptions", **form)
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "prompt")
