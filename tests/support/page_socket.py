"""The live captions of the scripted server: a WebSocket that sends what a script says."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Request, TextMessage

TRANSCRIPTION = "conversation.item.input_audio_transcription"


def started(item: str, at_s: float) -> dict[str, Any]:
    return {"type": "input_audio_buffer.speech_started", "item_id": item, "audio_start_ms": at_s * 1000}


def stopped(item: str, at_s: float) -> dict[str, Any]:
    return {"type": "input_audio_buffer.speech_stopped", "item_id": item, "audio_end_ms": at_s * 1000}


def delta(item: str, words: str) -> dict[str, Any]:
    return {"type": f"{TRANSCRIPTION}.delta", "item_id": item, "content_index": 0, "delta": words}


def tail(item: str, words: str, lag_s: float = 0.5) -> dict[str, Any]:
    return {"type": "edgephi.tail", "item_id": item, "text": words, "lag_s": lag_s}


def completed(item: str, words: str) -> dict[str, Any]:
    return {"type": f"{TRANSCRIPTION}.completed", "item_id": item, "transcript": words}


def failed(item: str, message: str) -> dict[str, Any]:
    return {"type": f"{TRANSCRIPTION}.failed", "item_id": item, "error": {"code": "overloaded", "message": message}}


def error(code: str, message: str, event_id: str | None = None) -> dict[str, Any]:
    return {"type": "error", "error": {"code": code, "message": message, "event_id": event_id}}


@dataclass
class LiveScript:
    """What a session sends.

    Attributes:
        events: After the first audio: a dict is an event, an int a code to close with; what has `event` waits for it.
        commit: The answers to each commit.
        is_full: Whether sessions are refused.
        seen: What the page sent.
        protocols: That the page asked for.
    """

    events: list[Any] = field(default_factory=list)
    commit: list[dict[str, Any]] = field(default_factory=lambda: [error("commit_empty", "No audio.", "commit")])
    is_full: bool = False
    seen: list[dict[str, Any]] = field(default_factory=list)
    protocols: list[str] = field(default_factory=list)


class LiveSession:
    """One session over the connection of a handler that was asked for it."""

    def __init__(self, handler: BaseHTTPRequestHandler, script: LiveScript) -> None:
        self._socket: socket.socket = handler.connection
        self._script = script
        self._connection = WSConnection(ConnectionType.SERVER)
        headers = [(name.encode(), value.encode()) for name, value in handler.headers.items()]
        self._connection.initiate_upgrade_connection(headers, handler.path)
        self._lock = threading.Lock()
        self._has_audio = threading.Event()
        self._has_ended = threading.Event()

    def run(self) -> None:
        """Until one of both leaves."""
        sender = threading.Thread(target=self._send_all, daemon=True)
        try:
            while not self._has_ended.is_set():
                for event in self._connection.events():
                    self._take(event, sender)
                content = self._socket.recv(65536)
                if not content:
                    return
                self._connection.receive_data(content)
        except OSError:
            return
        finally:
            self._has_ended.set()

    def _take(self, event: Any, sender: threading.Thread) -> None:
        if isinstance(event, Request):
            self._script.protocols = list(event.subprotocols)
            self._write(AcceptConnection(subprotocol="realtime"))
            self._send({"type": "session.created", "session": {"type": "transcription"}})
            sender.start()
        elif isinstance(event, CloseConnection):
            self._write(event.response())
            self._has_ended.set()
        elif isinstance(event, TextMessage):
            self._answer(json.loads(event.data))

    def _answer(self, message: dict[str, Any]) -> None:
        self._script.seen.append(message)
        kind = message["type"]
        if kind == "session.update":
            self._send({"type": "session.updated", "session": message["session"]})
        elif kind == "input_audio_buffer.commit":
            for answer in self._script.commit:
                self._send(answer)
        elif kind == "input_audio_buffer.append":
            self._has_audio.set()

    def _send_all(self) -> None:
        self._has_audio.wait()
        self._send_each(self._script.events)

    def _send_each(self, events: Iterable[Any]) -> None:
        for step in events:
            if isinstance(step, int):
                self._write(CloseConnection(code=step))
            elif isinstance(step, dict):
                self._send(step)
            elif hasattr(step, "event"):
                while not step.event.wait(0.05) and not self._has_ended.is_set():
                    pass
            else:
                self._socket.shutdown(socket.SHUT_RDWR)

    def _send(self, event: dict[str, Any]) -> None:
        self._write(TextMessage(data=json.dumps({"event_id": "e", **event})))

    def _write(self, event: Any) -> None:
        with self._lock:
            self._socket.sendall(self._connection.send(event))
