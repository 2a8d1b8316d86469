"""A server that speaks OpenAI's chat completions: `edgephi serve`, or any other."""

from __future__ import annotations

import base64
import http.client
import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from edgephi.base.errors import ConfigError, EdgeError
from edgephi_evaluate.answer import Answer, Seconds
from edgephi_evaluate.engines.chat import TAG
from edgephi_evaluate.engines.engine import AnswerRules
from edgephi_evaluate.item import Item, Media, Turn
from edgephi_evaluate.runs.identity import EngineIdentity

_TIMEOUT_S = 1200.0
_AUDIO_FORMATS = {b"RIFF": "wav", b"fLaC": "flac", b"OggS": "ogg", b"ID3": "mp3", b"\xff\xfb": "mp3"}
_IMAGE_TYPES = {b"\x89PNG": "png", b"\xff\xd8": "jpeg", b"GIF8": "gif", b"RIFF": "webp"}


class OpenAIEngine:
    """Asks a server, one request at a time.

    Args:
        url: Of the interface, such as `http://127.0.0.1:8080/v1`.
        model: Name of the model there.
        key: Sent as a bearer token; empty for none.

    Raises:
        ConfigError: The URL is none.
    """

    def __init__(self, url: str, model: str, key: str = "") -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"--engine openai:{url}: write openai:http://HOST:PORT/v1")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname, parts.port, timeout=_TIMEOUT_S)
        self._path = f"{parts.path.rstrip('/')}/chat/completions"
        self._headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}
        self._model = model
        self._identity = EngineIdentity(name="openai", version="chat completions", model=f"{url} {model}")

    @property
    def identity(self) -> EngineIdentity:
        """See Engine."""
        return self._identity

    def answer(self, item: Item, rules: AnswerRules) -> Answer:
        """See Engine.

        Raises:
            ConfigError: The suite switches adapters off, which the interface cannot ask for.
            EdgeError: The server cannot be reached, refuses, or answers in another form.
        """
        if rules.adapter != "auto":
            raise ConfigError("a server follows the model's own rule for adapters; measure this suite with edgephi")
        body = json.dumps(self.body(item, rules)).encode()
        began_s = time.perf_counter()
        raw = self._post(body)
        total_s = time.perf_counter() - began_s
        try:
            return _answer(raw, total_s)
        except (LookupError, TypeError) as error:
            raise EdgeError(f"the server's answer is no chat completion ({error!r})") from error

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def body(self, item: Item, rules: AnswerRules) -> dict[str, Any]:
        """The request of an item."""
        last = max(number for number, turn in enumerate(item.turns) if turn.role == "user")
        has_tags = any(TAG.search(turn.text) for turn in item.turns)
        messages = [
            _message(turn, item, leads=number == last and not has_tags) for number, turn in enumerate(item.turns)
        ]
        tools = [one for turn in item.turns if turn.tools for one in json.loads(turn.tools)]
        return {
            "model": self._model,
            "messages": messages,
            "temperature": 0,
            "max_completion_tokens": rules.max_new_tokens,
            **({"tools": [{"type": "function", "function": one} for one in tools]} if tools else {}),
        }

    def _post(self, body: bytes) -> dict[str, Any]:
        try:
            self._connection.request("POST", self._path, body, self._headers)
            response = self._connection.getresponse()
            data = response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()  # the next request connects anew
            raise EdgeError(
                f"the server cannot be reached or cut the answer off ({error or type(error).__name__})"
            ) from error
        try:
            raw = json.loads(data)
        except ValueError:
            raw = None
        if response.status != 200 or not isinstance(raw, dict):
            message = (raw.get("error") or {}).get("message", "") if isinstance(raw, dict) else ""
            raise EdgeError(f"the server answered {response.status}: {message or 'without a message'}")
        return raw


def _answer(raw: dict[str, Any], total_s: float) -> Answer:
    choice = raw["choices"][0]
    message = choice["message"]
    text = message.get("content") or ""
    calls = [
        {"name": one["function"]["name"], "arguments": json.loads(one["function"]["arguments"] or "{}")}
        for one in message.get("tool_calls") or ()
    ]
    marked = f"{text}<|tool_call|>{json.dumps(calls)}<|/tool_call|>" if calls else text
    tokens = (raw.get("usage") or {}).get("completion_tokens")
    return Answer(
        text=text,
        marked_text=marked,
        new_tokens=tokens,
        finish_reason="length" if choice.get("finish_reason") == "length" else "stop",
        seconds=Seconds(total=total_s),
    )


def _message(turn: Turn, item: Item, *, leads: bool) -> dict[str, Any]:
    """A message whose media stand where their tags are, or before the text of the last user turn."""
    if not leads and not TAG.search(turn.text):
        return {"role": turn.role, "content": turn.text}
    parts = [_image(one) for one in item.images] + [_audio(one) for one in item.audio] if leads else []
    start = 0
    for found in TAG.finditer(turn.text):
        parts += _text(turn.text[start : found.start()])
        media = item.images if found[1] == "image" else item.audio
        number = int(found[2])
        if not 1 <= number <= len(media):
            raise ConfigError(f"item {item.id}: {found[0]} and {len(media)} {found[1]} inputs; give as many as tags")
        parts.append((_image if found[1] == "image" else _audio)(media[number - 1]))
        start = found.end()
    parts += _text(turn.text[start:])
    return {"role": turn.role, "content": parts}


def _text(text: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": text}] if text else []


def _image(media: Media) -> dict[str, Any]:
    data = _bytes(media)
    kind = next((name for head, name in _IMAGE_TYPES.items() if data.startswith(head)), "png")
    return {"type": "image_url", "image_url": {"url": f"data:image/{kind};base64,{_base64(data)}"}}


def _audio(media: Media) -> dict[str, Any]:
    data = _bytes(media)
    kind = next((name for head, name in _AUDIO_FORMATS.items() if data.startswith(head)), "wav")
    return {"type": "input_audio", "input_audio": {"data": _base64(data), "format": kind}}


def _bytes(media: Media) -> bytes:
    source = media.read()
    return source if isinstance(source, bytes) else Path(source).read_bytes()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
