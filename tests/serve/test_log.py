"""What reaches the log of a request: nothing that it says."""

from __future__ import annotations

import base64
import socket

import httpx
import pytest

from support.serve_process import Running

HELLO = [{"role": "user", "content": "hello"}]


def _ask(client: httpx.Client, **request) -> httpx.Response:
    return client.post("/v1/chat/completions", json={"messages": HELLO, "max_tokens": 2, **request})


def test_a_request_leaves_no_word_in_the_log(server, client):
    canary = "canary7261"
    _ask(client, messages=[{"role": "user", "content": canary}], user=canary, stop=canary, canary7261=1)
    _ask(client, messages=[{"role": canary, "content": canary}])
    _ask(
        client,
        messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": f"http://{canary}"}}]}],
    )
    client.get(f"/{canary}?{canary}", headers={"x-request-id": f"{canary}/{canary}"})
    text = server.log.read_text()
    assert "/v1/chat/completions" in text
    assert canary not in text


@pytest.mark.slow
def test_no_field_of_any_request_reaches_the_log_in_text(start):
    _check_log(start("--log", "text"))


def test_no_field_of_any_request_reaches_the_log(server):
    _check_log(server)


def _check_log(running: Running) -> None:
    """Also where a request is refused, fails to be decoded, is not HTTP, or is paused by its client."""
    written = len(running.log.read_text())
    word = "canary8395"
    media = base64.b64encode(f"{word}".encode() * 20).decode()
    fields = {
        "model": word, "user": word, "stop": [word], "metadata": {word: word}, "prediction": {"content": word},
        "response_format": {"type": "json_schema", "json_schema": {"name": word, "schema": {"const": word}}},
        "tools": [{"type": "function", "function": {"name": word, "parameters": {"type": word}}}],
        "tool_choice": {"type": "function", "function": {"name": word}}, "logit_bias": {word: 1}, "seed": word,
        "edgephi": {"regex": word, "grammar": word}, word: word, "stream_options": {word: 1}, "modalities": [word],
        "messages": [
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": f"data:{word};,{media}"}}]}
        ],
    }  # fmt: skip
    with running.client(
        headers={"User-Agent": word, "Referer": f"http://127.0.0.1/{word}", "X-Request-Id": f"{word}/"}
    ) as client:
        for name, value in fields.items():
            _ask(client, **{name: value})
        said = [{"role": role, "content": word, "name": word} for role in ("system", "assistant", "user")]
        assert _ask(client, messages=said, edgephi={"regex": f"{word}!"}).status_code == 200
        for path in ("/v1/responses", "/v1/responses/input_tokens", "/v1/chat/completions/input_tokens"):
            for more in ({}, {"temperature": 3}, {"tools": [{"type": word}]}):
                given = {"input": word, "instructions": word, "messages": said, word: word, **more}
                client.post(path, json=given)
        _ask(client, messages=[{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": media}}]}])
        client.post("/v1/chat/completions", content=f"{{{word}", headers={"content-type": "application/json"})
        client.get(f"/v1/models/{word}", headers={"Authorization": f"Bearer {word}"})
        client.get("/health", headers={"Host": word})
        client.get("/health", headers={"Origin": f"http://{word}"})
        for content in (media.encode(), b"RIFF" + word.encode() * 9):
            files = {"file": (f"{word}.wav", content, word)}
            client.post("/v1/audio/transcriptions", files=files, data={"prompt": word, "language": word})
            client.post("/v1/audio/transcriptions", files=files, data={word: word})
        with socket.create_connection(httpx.URL(running.url).netloc.decode().split(":")) as raw:
            raw.sendall(f"{word} {word}\r\n\r\n".encode())
            raw.recv(1000)
    text = running.log.read_text()[written:]
    assert text.count("/v1/chat/completions") > len(fields)
    assert word not in text
