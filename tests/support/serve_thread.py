"""The server's application behind a real socket, in a thread of this process, with a model that does as it is asked."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from typing import Any

import httpx

from edgephi import DoneEvent, Event, Model, PreparedRequest, Reply, Request, SamplingOptions, Stage, TextEvent
from edgephi_serve.app import Parts, make_app
from edgephi_serve.connections.keys import Keys
from edgephi_serve.endpoints.identity import Identity
from edgephi_serve.server import HttpServer, http_config
from edgephi_serve.settings import Settings
from edgephi_serve.turns.engine import Engine
from support.bundles import nano_bundle
from support.waiting import until

_POLL_S = 0.005


class ScriptedModel:
    """Does what the last message says: any number of these steps, apart from everything that is not scripted.

    encode NAME N S     encodes N crops of S seconds each; what was encoded is kept, but under the name `lost`
    prefill NAME N S    likewise reads N passes
    hang S              shows no sign of work for S seconds
    hold                goes on once `gate` is set
    write N S           writes N words, one each S seconds
    fail                raises what `failure` is

    Attributes:
        begun: The last messages of all requests that began.
        passes: How many crops were encoded and passes read in all.
        failure: Raised by `fail`.
        gate: Opens for `hold`.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._reply = model.generate("hello", options=SamplingOptions.greedy(max_new_tokens=2))
        self._ready = model.prepare("hello")
        self._kept: dict[str, int] = {}
        self.begun: list[str] = []
        self.passes = 0
        self.gate = threading.Event()
        self.failure: BaseException = RuntimeError("canary-of-a-failure")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def prepare(self, request: Request, **_: Any) -> PreparedRequest:
        return replace(self._ready, request=request)

    def stream(
        self,
        ready: PreparedRequest,
        *,
        should_stop: Callable[[], bool],
        on_stage: Callable[[Stage], None],
        **_: Any,
    ) -> Generator[Event, None, None]:
        text = ready.request.messages[-1]["content"]
        self.begun.append(text)
        words: list[str] = []
        for step in text.split(";"):
            if not (yield from self._step(step.split(), should_stop, on_stage, words)):
                yield self._done(words, "cancelled")
                return
        yield self._done(words, "stop")

    def _step(
        self, step: list[str], should_stop: Callable[[], bool], on_stage: Callable[[Stage], None], words: list[str]
    ) -> Generator[Event, None, bool]:
        match step:
            case ["encode" | "prefill" as stage, name, count, seconds]:
                total, key = int(count), f"{stage} {name}"
                for done in range(self._kept.get(key, 0), total):
                    on_stage(Stage(stage, done, total))
                    if _sleep(float(seconds), should_stop):
                        return False
                    self.passes += 1
                    self._kept[key] = 0 if name == "lost" else done + 1
                on_stage(Stage(stage, total, total))
            case ["hang", seconds]:
                time.sleep(float(seconds))
            case ["write", count, seconds]:
                for number in range(int(count)):
                    if _sleep(float(seconds), should_stop):
                        return False
                    words.append(f"{number} ")
                    yield TextEvent(words[-1])
            case ["hold"]:
                while not self.gate.wait(_POLL_S):
                    if should_stop():
                        return False
            case ["fail"]:
                raise self.failure
        return True

    def _done(self, words: list[str], reason: Any) -> DoneEvent:
        timing = replace(self._reply.timing, new_tokens=len(words), prefill_s=1e-4, decode_s=1e-4 * len(words))
        reply: Reply = replace(self._reply, text="".join(words), finish_reason=reason, timing=timing)
        return DoneEvent(reply)


def _sleep(seconds: float, should_stop: Callable[[], bool]) -> bool:
    """Whether it was ended early."""
    ends_s = time.monotonic() + seconds
    while True:
        if should_stop():
            return True
        left_s = ends_s - time.monotonic()
        if left_s <= 0:
            return False
        time.sleep(min(left_s, _POLL_S))


class ServeThread:
    """A server at `url`, with its engine and model. Use as a context."""

    def __init__(
        self, model: Any, settings: Settings, *, is_loaded: bool = True, wrap: Callable[[Any], Any] = lambda app: app
    ) -> None:
        self.model = model
        self.settings = settings
        self._is_loaded = is_loaded
        self._wrap = wrap
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.address = self.listening.getsockname()
        self.url = f"http://127.0.0.1:{self.address[1]}"
        self._is_up = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self.keys = Keys([])

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.engine = Engine(self.settings, shares_keys=len(self.keys) > 1)
        identity = Identity.of(nano_bundle(), None)
        parts = Parts(
            engine=self.engine,
            settings=self.settings,
            identity=identity,
            keys=self.keys,
        )
        guard = make_app(parts)
        if self._is_loaded:
            self.engine.become_ready(self.model)
        self._http = HttpServer(http_config(self._wrap(guard), self.settings))
        self._is_up.set()
        await self._http.serve(sockets=[self.listening])

    def __enter__(self) -> ServeThread:
        self._thread.start()
        assert self._is_up.wait(10)
        return self

    def __exit__(self, *error: object) -> None:
        self.loop.call_soon_threadsafe(self.engine.stop_all)
        self._http.should_exit = True
        self._thread.join(10)
        assert not self._thread.is_alive()

    def client(self, **options: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=30, **options)

    def ask(self, text: str, **fields: Any) -> httpx.Response:
        """A whole answer of a request with this script."""
        with self.client() as client:
            return client.post("/v1/chat/completions", json=body(text, **fields))

    def lines(self, text: str, **fields: Any) -> list[tuple[float, str]]:
        """The lines of a stream with the seconds after which they came."""
        began_s = time.monotonic()
        with self.client() as client, self.stream(client, text, **fields) as answer:
            return [(time.monotonic() - began_s, line) for line in answer.iter_lines() if line]

    @staticmethod
    def stream(client: httpx.Client, text: str, **fields: Any) -> Any:
        asked = body(text, stream=True, **fields)
        return client.stream("POST", "/v1/chat/completions", json=asked, headers={"Accept": "text/event-stream"})

    def connected(self) -> socket.socket:
        """A connection that somebody else closes."""
        return socket.create_connection(self.address, timeout=10)

    @contextlib.contextmanager
    def raw(self) -> Iterator[socket.socket]:
        with socket.create_connection(self.address, timeout=10) as opened:
            yield opened

    until = staticmethod(until)

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._http.server_state.connections)

    def has_left(self) -> bool:
        """Whether nothing runs and nothing waits."""
        return not self.engine.running and not self.engine.waiting


def body(text: str, **fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **fields}


def request_bytes(content: bytes, *headers: str, path: str = "/v1/chat/completions") -> bytes:
    """A whole request for a raw socket."""
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json", *headers]
    lines.append(f"Content-Length: {len(content)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content
