"""A scripted server behind the page, for states that a real one rarely has: loading, refused, slow, gone."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from support.page_socket import LiveScript, LiveSession

PAGE = Path(__file__).parents[2] / "runtime/edgephi_serve/page"
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' blob: data:; "
    "media-src blob:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
MODEL = {
    "id": "nano-int4",
    "object": "model",
    "created": 1,
    "owned_by": "edgephi",
    "max_model_len": 4096,
    "architecture": {"input_modalities": ["text", "image", "audio"], "output_modalities": ["text"]},
}


class Gate:
    """A point in a script where the stream waits until the test opens it, or a client that left closes it."""

    def __init__(self) -> None:
        self.event = threading.Event()

    def open(self) -> None:
        self.event.set()


class Cut:
    """A point in a script where the connection breaks."""


def text(words: str) -> dict[str, Any]:
    """A chunk that adds text to the reply."""
    return {"choices": [{"index": 0, "delta": {"content": words}, "finish_reason": None}]}


def ending(reason: str = "stop", **timing: float) -> list[dict[str, Any]]:
    """The last chunks of a reply, with the time of each stage in seconds."""
    stages = ("queue", "preprocess", "encode", "prefill", "ttft", "decode")
    return [
        {
            "choices": [{"index": 0, "delta": {}, "finish_reason": reason}],
            "edgephi": {"timing": {f"{name}_s": timing.get(name, 0.0) for name in stages}},
        },
        {"choices": [], "usage": {"prompt_tokens": 2049, "completion_tokens": 132, "total_tokens": 2181}},
    ]


@dataclass
class Script:
    """What the server answers.

    Attributes:
        status: Of every request under /v1 but the page itself; 200 answers.
        error: The `error` object of an answer that is no success.
        headers: More headers of such an answer.
        key: Asked for in `Authorization`, where one is set.
        model: The entry of /v1/models.
        stream: What a reply sends: a string is a comment, a dict an event, a Gate waits, a Cut ends the connection.
        cost: The answer of `input_tokens`; None for 404.
        seen: The bodies that were sent, with their paths.
        live: What a session of live captions sends.
    """

    status: int = 200
    error: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    key: str | None = None
    model: dict[str, Any] = field(default_factory=lambda: dict(MODEL))
    stream: list[Any] = field(default_factory=lambda: [text("Hello."), *ending()])
    cost: dict[str, Any] | None = None
    seen: list[tuple[str, Any]] = field(default_factory=list)
    live: LiveScript = field(default_factory=LiveScript)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: PageServer

    def log_message(self, *arguments: object) -> None:
        """Nothing is written to stderr."""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path in ("/", "/index.html"):
            self._file(PAGE / "index.html")
        elif path.startswith("/page/") and (PAGE / Path(path).name).is_file():
            self._file(PAGE / Path(path).name)
        elif path == "/v1/models" and self._allowed():
            self._json({"object": "list", "data": [self.server.script.model]})
        elif path == "/v1/realtime":
            self._live()
        elif not path.startswith("/v1"):
            self._error(404, {"message": "nothing here"})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        is_json = self.headers["Content-Type"] == "application/json"
        self.server.script.seen.append((self.path, json.loads(body) if is_json else body))
        if not self._allowed():
            return
        if self.path.endswith("/input_tokens"):
            cost = self.server.script.cost
            self._json(cost) if cost else self._error(404, {"message": "no such address"})
        else:
            self._stream(iter(self.server.script.stream))

    def _allowed(self) -> bool:
        script = self.server.script
        if script.key and self.headers["Authorization"] != f"Bearer {script.key}":
            self._error(401, {"message": "This server needs a key.", "code": "invalid_api_key"})
        elif script.status != 200:
            self._error(script.status, script.error, script.headers)
        else:
            return True
        return False

    def _live(self) -> None:
        live, key = self.server.script.live, self.server.script.key
        offered = self.headers["Sec-WebSocket-Protocol"] or ""
        if self.headers["Upgrade"] != "websocket":
            if self._allowed():
                self._error(426, {"message": "Connect to this address by a WebSocket."})
        elif key and f"openai-insecure-api-key.{key}" not in offered:
            self._error(401, {"message": "This server needs a key.", "code": "invalid_api_key"})
        elif live.is_full:
            self._error(429, {"message": "2 sessions are open."})
        else:
            self.close_connection = True
            LiveSession(self, live).run()

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _file(self, path: Path) -> None:
        body = path.read_bytes()
        headers = {"Content-Type": TYPES[path.suffix], "Content-Length": str(len(body)), "Cache-Control": "no-cache"}
        self._head(200, headers | {"Content-Security-Policy": CSP, "X-Content-Type-Options": "nosniff"})
        self.wfile.write(body)

    def _json(self, value: object, status: int = 200, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(value).encode()
        kind = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        self._head(status, kind | (headers or {}))
        self.wfile.write(body)

    def _error(self, status: int, error: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        self._json({"error": error}, status, headers)

    def _stream(self, steps: Iterator[Any]) -> None:
        self._head(200, {"Content-Type": "text/event-stream", "Connection": "close"})
        self.close_connection = True
        try:
            for step in steps:
                if isinstance(step, Cut):
                    return
                if isinstance(step, Gate):
                    self.wfile.flush()
                    self._wait(step)
                else:
                    self._send(f": {step}\n\n" if isinstance(step, str) else f"data: {json.dumps(step)}\n\n")
            self._send("data: [DONE]\n\n")
        except OSError:
            self.server.left.set()

    def _wait(self, gate: Gate) -> None:
        """Until the gate opens; a client that leaves is noticed by writing to it."""
        while not gate.event.wait(0.05):
            self._send(": ping\n\n")

    def _send(self, data: str) -> None:
        self.wfile.write(data.encode())
        self.wfile.flush()


class PageServer(ThreadingHTTPServer):
    """Serves the page, and what `script` says. Use as a context; `close` makes it go away."""

    daemon_threads = True

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        super().__init__((host, port), _Handler)
        self.script = Script()
        self.left = threading.Event()
        self._open: list[socket.socket] = []
        self.url = f"http://{host}:{self.server_address[1]}/"
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self) -> PageServer:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def get_request(self) -> tuple[socket.socket, Any]:
        request, address = super().get_request()
        self._open.append(request)
        return request, address

    def close(self) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join()
        for kept_alive in self._open:
            with contextlib.suppress(OSError):
                kept_alive.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        """A browser that closes a connection is no error."""
