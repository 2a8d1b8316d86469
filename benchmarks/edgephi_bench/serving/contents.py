"""The text, image and audio of a measured request: made from its number, so that both sides make the same.

Requests differ in their first word and in their media, so that nothing of one is cached for another.
"""

from __future__ import annotations

import base64
import io
import json
import wave
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from edgephi_bench.engines.workers.edgephi_requests import WORDS

_QUESTION = "Describe this."
_HERTZ = 16_000
_QUALITY = 90
#: Logits of the tokens that end a reply are lowered by so much: every reply has its full number of tokens.
NEVER = -100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """One request's content.

    Attributes:
        text: Of the user's turn.
        image: A JPEG file's bytes; None without an image.
        audio: A WAV file's bytes; None without audio.
    """

    text: str
    image: bytes | None = None
    audio: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request, as both sides are given it.

    Attributes:
        number: Of all requests of a run; no other has it.
        repeats: The text is the number and so many times WORDS; 0 for a short question about media.
        audio_s: Length of the audio; 0 for none.
        image: Width and height of the image; None for none.
        new_tokens: Generated, whatever the model would do.
    """

    number: int
    repeats: int
    audio_s: float = 0.0
    image: tuple[int, int] | None = None
    new_tokens: int


def make_content(ask: Ask) -> Content:
    """The content of a request. Noise costs encoders what anything else costs."""
    text = f"{ask.number}{WORDS * ask.repeats}" if ask.repeats else f"{ask.number} {_QUESTION}"
    random = np.random.default_rng(ask.number)
    image = None if ask.image is None else _jpeg(random, ask.image)
    return Content(text=text, image=image, audio=_wav(random, ask.audio_s) if ask.audio_s else None)


def _jpeg(random: np.random.Generator, size: tuple[int, int]) -> bytes:
    width, height = size
    file = io.BytesIO()
    Image.fromarray(random.integers(0, 256, (height, width, 3), np.uint8)).save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()


def _wav(random: np.random.Generator, seconds: float) -> bytes:
    samples = random.normal(0.0, 3000.0, round(seconds * _HERTZ)).clip(-32768, 32767).astype("<i2")
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(_HERTZ)
        writer.writeframes(samples.tobytes())
    return file.getvalue()


def chat_body(content: Content, new_tokens: int, eos: Iterable[int]) -> bytes:
    """The same request for `POST /v1/chat/completions`: streamed, greedy, of exactly so many tokens."""
    parts: list[dict[str, Any]] = []
    if content.image is not None:
        url = f"data:image/jpeg;base64,{_base64(content.image)}"
        parts.append({"type": "image_url", "image_url": {"url": url}})
    if content.audio is not None:
        parts.append({"type": "input_audio", "input_audio": {"data": _base64(content.audio), "format": "wav"}})
    parts.append({"type": "text", "text": content.text})
    body = {
        "model": "any",
        "messages": [{"role": "user", "content": parts}],
        "max_completion_tokens": new_tokens,
        "temperature": 0,
        "logit_bias": {str(token_id): NEVER for token_id in eos},
        "stream": True,
        "stream_options": {"include_usage": True},
        "edgephi": {"speculation": False},
    }
    return json.dumps(body).encode()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
