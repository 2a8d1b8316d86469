"""A light mixed load on a server for a long time, and what its process holds meanwhile."""

from __future__ import annotations

import base64
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx

from support.serve_process import ProcessState, Running

NANO = Path(__file__).parents[2] / "nano/samples"
CHAT = "/v1/chat/completions"
TOOL = {
    "type": "function",
    "function": {
        "name": "lock",
        "parameters": {"type": "object", "properties": {"device": {"type": "string"}}, "required": ["device"]},
    },
}
#: Of a client whose server is loaded by others too.
_TIMEOUT_S = 300
#: After a reload in which requests may be answered 503.
_RELOAD_S = 30
_CLIENTS = 8


@dataclass(frozen=True)
class Sample:
    """The state of the process after a number of requests."""

    requests: int
    state: ProcessState


def _user(*parts: dict[str, Any] | str) -> list[dict[str, Any]]:
    content = [{"type": "text", "text": part} if isinstance(part, str) else part for part in parts]
    return [{"role": "user", "content": content}]


def _data(name: str, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode((NANO / name).read_bytes()).decode()}"


class MixedLoad:
    """Requests of all kinds by several clients at once.

    Args:
        running: The server.
        reload: Changes the model folder, so that a reload loads it again.
        reload_s: Seconds between two reloads.
        seed: Of the order of the requests.

    Attributes:
        statuses: How many answers had each status; those that the client left are counted under `left`.
        wrong: Answers that no client should get, each in a line.
        requests: How many were sent.
    """

    def __init__(self, running: Running, *, reload: Callable[[], None], reload_s: float, seed: int = 0) -> None:
        self._running = running
        self._reload = reload
        self._reload_s = reload_s
        self._rng = random.Random(seed)
        self._lock = threading.Lock()
        self._reloaded_s = time.monotonic()
        self._speech = (NANO / "command.wav").read_bytes()
        self._image = {"type": "image_url", "image_url": {"url": _data("number.png", "image/png")}}
        self._audio = {"type": "audio_url", "audio_url": {"url": _data("command.wav", "audio/wav")}}
        self.statuses: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.requests = 0

    def run(self, seconds: float, rate: float) -> None:
        """Send about `rate` requests a second, at random times, for so long; all are answered on return."""
        ends_s = time.monotonic() + seconds
        with ThreadPoolExecutor(_CLIENTS) as pool:
            places = threading.Semaphore(_CLIENTS)
            while (now_s := time.monotonic()) < ends_s:
                if now_s - self._reloaded_s > self._reload_s:
                    self._reloaded_s = now_s
                    self._reload()
                places.acquire()
                self.requests += 1
                pool.submit(self._one, self._rng.random()).add_done_callback(lambda _: places.release())
                time.sleep(min(self._rng.expovariate(rate), 5))

    def _one(self, seed: float) -> None:
        rng = random.Random(seed)
        kind = rng.choice([self._chat, self._stream, self._leave, self._media, self._transcript, self._tool, self._bad])
        began_s = time.monotonic()
        with self._running.client(timeout=_TIMEOUT_S) as client:
            try:
                answer, status = kind(client, rng)
            except httpx.HTTPError as error:
                answer, status = repr(error), "failed"
        is_reload = status == "503" and began_s - self._reloaded_s < _RELOAD_S
        # Clients that leave hold their places while the model is loaded again: others may be asked to come later.
        expected = {"429", *(("400", "404") if kind == self._bad else ("200", "left"))}
        with self._lock:
            self.statuses[status] += 1
            if not is_reload and (status not in expected or ('"error"' in answer and status == "200")):
                self.wrong.append(f"{kind.__name__}: {status} {answer[:300]}")

    def _chat(self, client: httpx.Client, rng: random.Random) -> tuple[str, str]:
        text = "hello " * rng.randrange(1, 60) + str(rng.random())
        return _whole(client.post(CHAT, json={"messages": _user(text), "max_tokens": 12}))

    def _stream(self, client: httpx.Client, rng: random.Random) -> tuple[str, str]:
        body = {"messages": _user(f"hello {rng.random()}"), "max_tokens": 12, "stream": True}
        answer = client.post(CHAT, json=body)
        assert answer.status_code != 200 or answer.text.endswith("data: [DONE]\n\n"), answer.text
        return _whole(answer)

    def _leave(self, client: httpx.Client, rng: random.Random) -> tuple[str, str]:
        body = {"messages": _user("hello " * 300 + str(rng.random())), "max_tokens": 300, "stream": True}
        with client.stream("POST", CHAT, json=body) as answer:
            lines = answer.iter_lines()
            for _ in range(rng.randrange(20)):
                next(lines, None)
            return "", "left" if answer.status_code == 200 else str(answer.status_code)

    def _media(self, client: httpx.Client, rng: random.Random) -> tuple[str, str]:
        parts = rng.choice([(self._image, "What number is shown?"), (self._audio,)])
        return _whole(client.post(CHAT, json={"messages": _user(*parts), "max_tokens": 12}))

    def _transcript(self, client: httpx.Client, rng: random.Random) -> tuple[str, str]:
        data = {"response_format": rng.choice(["json", "text", "srt", "verbose_json"])}
        return _whole(client.post("/v1/audio/transcriptions", files={"file": ("a.wav", self._speech)}, data=data))

    def _tool(self, client: httpx.Client, _: random.Random) -> tuple[str, str]:
        body = {"messages": _user("lock the door"), "tools": [TOOL], "tool_choice": "required", "max_tokens": 40}
        return _whole(client.post(CHAT, json=body))

    def _bad(self, client: httpx.Client, rng: random.Random) -> tuple[str, str]:
        bodies = [{}, {"messages": "hello"}, {"messages": _user({"type": "file", "file": {}})}, [rng.random()]]
        return _whole(client.post(rng.choice([CHAT, "/v1/none"]), json=rng.choice(bodies)))


def _whole(answer: httpx.Response) -> tuple[str, str]:
    return answer.text, str(answer.status_code)


def line_of(minute: int, load: MixedLoad, sample: Sample) -> str:
    """What has happened so far, as one line of JSON."""
    figures = {"minute": minute, "requests": sample.requests, "statuses": dict(sorted(load.statuses.items()))}
    return json.dumps({**figures, **asdict(sample.state), "wrong": len(load.wrong)})


def rss_slope(samples: list[Sample]) -> float:
    """Growth of the resident memory in MB per 1,000 requests: the median of the slopes of all pairs of samples."""
    slopes = sorted(
        (later.state.rss_kib - earlier.state.rss_kib) / 1024 / (later.requests - earlier.requests) * 1000
        for number, earlier in enumerate(samples)
        for later in samples[number + 1 :]
        if later.requests > earlier.requests
    )
    return slopes[len(slopes) // 2]
