"""Sessions of live captions by OpenAI's own client, over a real socket."""

from __future__ import annotations

import base64
import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openai
import soundfile
import soxr
import websockets.exceptions
import websockets.sync.client
from numpy.typing import NDArray
from openai.resources.realtime.realtime import RealtimeConnection

SAMPLES = Path(__file__).parents[2] / "nano/samples"
SPEECH = ("sentence", "command", "spoken-colour-question", "spoken-number-question")
TRANSCRIPT = "conversation.item.input_audio_transcription."
BUFFER = "input_audio_buffer."
_MOST_S = 30
PATH = "/v1/realtime?intent=transcription"


def speech(*pauses: float, hertz: int = 24_000) -> NDArray[np.int16]:
    """Recordings of the demo with these pauses before each, and one of a second behind."""
    parts = []
    for pause, name in zip(pauses, itertools.cycle(SPEECH), strict=False):
        samples, rate = soundfile.read(SAMPLES / f"{name}.wav", dtype="float32")
        parts += [np.zeros(round(pause * rate), np.float32), samples]
    joined = np.concatenate([*parts, np.zeros(rate, np.float32)])
    resampled = soxr.resample(joined, rate, hertz)
    return np.clip(np.round(resampled * 32768), -32768, 32767).astype("<i2")


@contextlib.contextmanager
def session(url: str, **settings: Any) -> Iterator[Session]:
    """A session after its first two events, with these settings of `audio.input`; `include` too."""
    include = settings.pop("include", [])
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        connecting = client.realtime.connect(extra_query={"intent": "transcription"})
        with connecting as connection:
            opened = Session(connection)
            opened.created = opened.next()
            change: Any = {"type": "transcription", "audio": {"input": settings}, "include": include}
            connection.session.update(session=change)
            opened.updated = opened.next()
            yield opened


class Session:
    """One session.

    Attributes:
        connection: OpenAI's.
        seen: Every event so far.
    """

    created: Any
    updated: Any

    def __init__(self, connection: RealtimeConnection) -> None:
        self.connection = connection
        self.seen: list[Any] = []

    def next(self) -> Any:
        """The next event."""
        content = self.connection._connection.recv(
            timeout=_MOST_S, decode=False
        )  # a test that waits for ever says nothing
        self.seen.append(self.connection.parse_event(content))
        return self.seen[-1]

    def append(self, content: bytes, size: int | None = None) -> None:
        """Send audio in pieces of so many bytes."""
        step = size or len(content)
        for start in range(0, len(content), step):
            piece = base64.b64encode(content[start : start + step]).decode()
            self.connection.input_audio_buffer.append(audio=piece)

    def commit(self) -> None:
        self.connection.input_audio_buffer.commit()

    def until(self, kind: str, count: int = 1) -> Any:
        """Take events until there were so many of a kind, and return the last."""
        while len(self.all(kind)) < count:
            self.next()
        return self.all(kind)[-1]

    def failed(self) -> Any:
        """The error of the next event of that kind."""
        return self.until("error", len(self.all("error")) + 1).error

    def closed(self) -> int | None:
        """Take events until the server closes, and return its code."""
        with contextlib.suppress(websockets.exceptions.ConnectionClosed):
            while True:
                self.next()
        return self.connection._connection.close_code

    def all(self, kind: str) -> list[Any]:
        """The events of a kind."""
        return [event for event in self.seen if event.type == kind]

    def texts(self) -> list[str]:
        """Of all items."""
        return [event.transcript for event in self.all(f"{TRANSCRIPT}completed")]

    def deltas(self) -> dict[str, str]:
        """By the ids of items."""
        joined: dict[str, str] = {}
        for event in self.all(f"{TRANSCRIPT}delta"):
            joined[event.item_id] = joined.get(event.item_id, "") + event.delta
        return joined


def raw(url: str, path: str = PATH, **options: Any) -> websockets.sync.client.ClientConnection:
    """A bare WebSocket."""
    return websockets.sync.client.connect(url.replace("http", "ws", 1) + path, **options)
