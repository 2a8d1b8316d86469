"""Whatever a client sends, the session answers or ends by its rules, and the server stays."""

from __future__ import annotations

import base64
import json
import random

import websockets.exceptions

from support.realtime import raw

UPDATE = {
    "type": "session.update",
    "event_id": "a",
    "session": {
        "type": "transcription",
        "audio": {
            "input": {
                "format": {"type": "audio/pcm", "rate": 24_000},
                "transcription": {"model": "a", "language": "en", "prompt": ""},
                "turn_detection": {"type": "server_vad", "silence_duration_ms": 500, "threshold": 0.5},
                "noise_reduction": None,
            }
        },
        "include": ["edgephi.tail"],
    },
}
MESSAGES = [
    UPDATE,
    {"type": "input_audio_buffer.append", "audio": base64.b64encode(bytes(999)).decode()},
    {"type": "input_audio_buffer.commit"},
    {"type": "input_audio_buffer.clear", "event_id": "b"},
]
VALUES = [None, True, -1, 10**30, 1e308, "", "null", "audio/pcm", [], {}, [[]], "\ud800", "a" * 5_000]
CODES = (None, 1001, 1002, 1007, 1009)


def _changed(rng: random.Random, value: object) -> object:
    """One place of it changed."""
    if isinstance(value, dict) and value and rng.random() < 0.8:
        key = rng.choice(list(value))
        return {**value, key: _changed(rng, value[key])}
    return rng.choice(VALUES)


def _message(rng: random.Random) -> str | bytes:
    message = rng.choice(MESSAGES)
    key = rng.choice(list(message))
    text = json.dumps({**message, key: _changed(rng, message[key])})
    if rng.random() < 0.03:
        cut = bytearray(text.encode())
        cut[rng.randrange(len(cut))] = rng.randrange(256)
        return bytes(cut)
    return text


def test_changed_messages_are_answered_or_end_the_session_by_its_rules(server, client, fuzz_count):
    rng = random.Random(fuzz_count)
    left = fuzz_count * 3
    while left > 0:
        with raw(server.url, max_queue=None) as socket:  # unread messages would hold up its close
            try:
                for _ in range(min(left, 50)):
                    socket.send(_message(rng))
                    left -= 1
                socket.send(json.dumps({"type": "input_audio_buffer.clear"}))
                while (event := json.loads(socket.recv(timeout=20)))["type"] != "input_audio_buffer.cleared":
                    assert event["event_id"]
                    assert event.get("error", {}).get("code") != "internal", event
            except websockets.exceptions.ConnectionClosed:
                assert socket.close_code in CODES
    assert client.get("/health").status_code == 200
    assert '"status": 500' not in server.log.read_text()
