"""Recordings as they are sent: of any format, under any name and type, of silence, or not recordings at all."""

from __future__ import annotations

import io
import os
from pathlib import Path

import av
import httpx
import numpy as np
import pytest
import soundfile

from edgephi_serve.connections.uploads import spool
from edgephi_serve.errors import ApiError
from support.audio_writers import webm

NANO = Path(__file__).parents[2] / "nano/samples"
SENTENCE = NANO / "sentence.wav"
URL = "/v1/audio/transcriptions"
#: Each under the name and the type of another.
WRONG = [
    ("WAV", "PCM_16", "../../\u00e4.mp3", "audio/mpeg"), ("FLAC", None, "a.wav", "audio/wav"),
    ("MP3", None, "a.flac", "audio/flac"), ("OGG", "VORBIS", "a.mp4", "video/mp4"),
    ("OGG", "OPUS", "a.txt", "text/plain"), ("AIFF", None, "a.webm", "audio/webm"),
    ("AU", None, "blob", "application/octet-stream"), ("CAF", None, "a.json", "application/json"),
]  # fmt: skip


def _post(client: httpx.Client, content: bytes, **fields) -> httpx.Response:
    return client.post(URL, files={"file": ("a.wav", content)}, data=fields)


@pytest.mark.parametrize(
    ("kind", "subtype", "name", "content_type"), WRONG, ids=[f"{one[0]}-{one[2]}" for one in WRONG]
)
def test_a_wrong_name_does_not_matter(client, kind, subtype, name, content_type):
    samples, rate = soundfile.read(SENTENCE, dtype="float32")
    made = io.BytesIO()
    soundfile.write(made, samples, rate, format=kind, subtype=subtype)
    answer = client.post(URL, files={"file": (name, made.getvalue(), content_type)}, data={"response_format": "text"})
    assert (answer.status_code, answer.text) == (200, "the small cat likes my red circle\n")


@pytest.mark.parametrize("is_live", [True, False])
def test_what_browsers_record_is_transcribed(client, is_live):
    samples, rate = soundfile.read(NANO / "command.wav", dtype="float32")
    made = io.BytesIO()
    soundfile.write(made, np.concatenate([samples, np.zeros(rate // 2, "float32")]), rate, format="OGG", subtype="OPUS")
    content = webm(made.getvalue(), is_live=is_live)
    answer = client.post("/v1/audio/transcriptions", files={"file": ("blob", content, "audio/webm;codecs=opus")})
    assert (answer.status_code, answer.json()["text"]) == (200, "open the kitchen window")


@pytest.mark.parametrize("is_live", [True, False])
def test_webm_of_ffmpeg_is_transcribed(client, is_live):
    """A live one states no sizes; the other has an index behind its audio."""
    made = io.BytesIO()
    options = {"live": "1"} if is_live else {}
    with av.open(str(NANO / "command.wav")) as source, av.open(made, "w", format="webm", options=options) as output:
        stream = output.add_stream("libopus", rate=48_000, layout="mono")
        for frame in source.decode(audio=0):
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    content = made.getvalue()
    assert (b"\x1c\x53\xbb\x6b" in content) is not is_live  # Matroska's index
    answer = client.post("/v1/audio/transcriptions", files={"file": ("blob", content, "audio/webm")})
    assert (answer.status_code, answer.json()["text"]) == (200, "open the kitchen window")


def _without_words() -> dict[str, np.ndarray]:
    """Three seconds of each, without a word."""
    times_s = np.arange(48_000) / 16_000
    noise = np.random.default_rng(0).normal(0, 1, 48_000)
    hum = sum(np.sin(2 * np.pi * 50 * number * times_s) / number for number in (1, 2, 3, 5))
    return {"nothing": 0 * noise, "quiet noise": 0.01 * noise, "loud noise": 0.1 * noise, "hum of the mains": 0.1 * hum}


@pytest.mark.parametrize(
    ("audio", "kind"),
    [
        *((audio, "verbose_json") for audio in _without_words()),
        *(("quiet noise", kind) for kind in ("json", "text", "srt", "vtt")),
    ],
)
def test_nothing_is_made_of_silence(client, audio, kind):
    made = io.BytesIO()
    soundfile.write(made, _without_words()[audio].astype("float32"), 16_000, format="WAV")
    answer = _post(client, made.getvalue(), response_format=kind)
    assert answer.status_code == 200
    assert (answer.json()["text"] if "json" in kind else answer.text.removeprefix("WEBVTT\n")) == ""
    if kind == "verbose_json":
        assert answer.json()["segments"] == []


@pytest.mark.parametrize("content", [b"", b"RIFF", b"%PDF-1.7 " + bytes(100), bytes(5000)])
def test_what_is_no_recording_is_refused(client, content):
    answer = _post(client, content)
    assert answer.status_code == 400
    message = answer.json()["error"]["message"]
    assert message.startswith("the recording")
    assert "/proc" not in message


def _part(disposition: str, content: bytes = b"ab") -> bytes:
    return f"--a\r\nContent-Disposition: form-data; {disposition}\r\n\r\n".encode() + content + b"\r\n"


_FILE, _FIELD, _FORM = 'name="file"; filename="f"', 'name="x"', "multipart/form-data; boundary=a"


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{}", "application/json", 415),
        (b"", "multipart/form-data", 400),
        (b"--a--", "multipart/form-data", 400),
        (b"--a\r\nx", _FORM, 400),
        (_part(_FILE), _FORM, 400),
        (_part('name="x"; filename="f"') + b"--a--\r\n", _FORM, 400),
        (_part('filename="f"') + b"--a--\r\n", _FORM, 400),
        (_part(_FIELD) + b"--a--\r\n", _FORM, 400),
        (_part(_FIELD, b"\xff") + b"--a--\r\n", _FORM, 400),
        (_part(_FIELD, b"x" * 70_000) + b"--a--\r\n", _FORM, 400),
        (_part(_FIELD) * 40 + b"--a--\r\n", _FORM, 400),
        (_part(_FILE) * 2 + b"--a--\r\n", _FORM, 400),
    ],
)
def test_a_damaged_form_is_one_clear_error(client, body, content_type, status):
    answer = client.post(URL, content=body, headers={"content-type": content_type})
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["message"]


def test_an_upload_has_no_name_on_the_disk_at_any_moment(tmp_path, monkeypatch):
    """Not even while a folder for it is chosen: a killed server leaves nothing."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.gettempdir", lambda: pytest.fail("writes a file that has a name"))
    with spool() as file:
        file.write(b"RIFF")
        assert os.readlink(f"/proc/self/fd/{file.fileno()}").startswith(f"{tmp_path}/")
        assert not list(tmp_path.iterdir())
    monkeypatch.setenv("TMPDIR", str(tmp_path / "none"))
    with pytest.raises(ApiError) as refused, spool():
        pass
    assert refused.value.status == 503
