"""A folder of one purpose answers no text alone, and is served all the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgephi import Model
from edgephi_serve.settings import Settings
from edgephi_serve.warming import warm
from support.bundles import small_bundle
from support.serve_process import end, launch
from support.serve_thread import ServeThread

NANO = Path(__file__).parents[2] / "nano/samples"
TEXT: dict[str, Any] = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 2}


@pytest.mark.parametrize(
    ("adapters", "media"), [("speech", "audio_tokens"), ("vision", "image_tokens"), ("routed", None)]
)
def test_the_first_request_is_one_that_the_folder_answers(adapters: str, media: str | None):
    with Model.load(small_bundle(adapters=adapters), threads=1) as model:
        timing = warm(model)
    assert timing.new_tokens > 0
    assert [name for name in ("audio_tokens", "image_tokens") if getattr(timing, name)] == ([media] if media else [])


def test_a_folder_for_speech_writes_recordings_down_and_refuses_text():
    folder = small_bundle(adapters="speech")
    files = {"file": ("a.wav", (NANO / "sentence.wav").read_bytes())}
    with Model.load(folder, threads=1) as model, ServeThread(model, Settings()) as running, running.client() as client:
        assert client.post("/v1/audio/transcriptions", files=files).status_code == 200
        refused = client.post("/v1/chat/completions", json=TEXT)
    assert refused.status_code == 400
    assert "--adapters routed" in refused.json()["error"]["message"]


@pytest.mark.slow
def test_the_program_serves_a_folder_for_speech(tmp_path: Path):
    running = launch(tmp_path / "log", model=small_bundle(adapters="speech"))
    try:
        with running.client() as client:
            assert client.get("/v1/health").json()["status"] == "ok"
    finally:
        end(running)
