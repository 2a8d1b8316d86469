"""audio.transcriptions and audio.translations as OpenAI's own client and plain forms see them."""

from __future__ import annotations

import concurrent.futures
import io
import json
import os
import re
import threading
import time
from functools import cache
from pathlib import Path
from typing import Literal

import httpx
import msgspec
import numpy as np
import openai
import pytest
import soundfile

from edgephi import Model, Transcript
from edgephi.transcription.formats import render
from edgephi.transcription.prompts import TRANSCRIBE
from support.bundles import nano_bundle

NANO = Path(__file__).parents[2] / "nano/samples"
SENTENCE = NANO / "sentence.wav"
URL = "/v1/audio/transcriptions"
#: Of a long recording; `make load` takes three hours.
LONG_MIN = int(os.environ.get("EDGEPHI_LONG_MIN", "40"))


@cache
def recording() -> bytes:
    """Two samples with a pause between them."""
    parts = []
    for name in ("command.wav", "sentence.wav"):
        samples, rate = soundfile.read(NANO / name, dtype="float32")
        parts += [samples, np.zeros(rate, "float32")]
    made = io.BytesIO()
    soundfile.write(made, np.concatenate(parts), rate, format="WAV")
    return made.getvalue()


@cache
def transcript() -> Transcript:
    with Model.load(nano_bundle(), threads=1) as model:
        return model.transcribe(recording())


@pytest.fixture
def sdk(server):
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def _post(client: httpx.Client, content: bytes, url: str = URL, **fields) -> httpx.Response:
    return client.post(url, files={"file": ("a.wav", content)}, data=fields)


def _events(answer: httpx.Response) -> list[dict]:
    return [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]


def _seconds(stamp: str) -> float:
    """Of a cue's time, such as 00:01:02,345."""
    hours, minutes, seconds = stamp.replace(",", ".").split(":")
    return 3600 * int(hours) + 60 * int(minutes) + float(seconds)


def test_the_library_finds_two_segments():
    assert len(transcript().segments) == 2
    assert transcript().text


@pytest.mark.parametrize("kind", ["text", "srt", "vtt"])
def test_a_text_format_is_what_the_command_writes(client, kind):
    answer = _post(client, recording(), response_format=kind)
    wanted = render(transcript(), "txt" if kind == "text" else kind, TRANSCRIBE)
    assert (answer.status_code, answer.text) == (200, wanted)


def test_short_cues_on_request(client):
    answer = _post(client, recording(), response_format="srt", max_segment_s="2")
    assert answer.text == render(transcript(), "srt", TRANSCRIBE, 2.0)
    assert answer.text.count("-->") > render(transcript(), "srt", TRANSCRIBE).count("-->")


@pytest.mark.parametrize("most_s", [None, 3.0])
def test_subtitles_are_short_though_the_segment_is_long(client, most_s):
    """Of speech without a pause, which is one segment."""
    samples, rate = soundfile.read(SENTENCE, dtype="float32")
    made = io.BytesIO()
    soundfile.write(made, np.tile(samples, 8), rate, format="WAV")
    asked = {"chunking_strategy": json.dumps({"type": "server_vad", "silence_duration_ms": 5000})}
    (segment,) = _post(client, made.getvalue(), response_format="verbose_json", **asked).json()["segments"]
    assert segment["end"] - segment["start"] > 10
    if most_s is not None:
        asked["max_segment_s"] = str(most_s)
    cues = _post(client, made.getvalue(), response_format="srt", **asked).text.removesuffix("\n").split("\n\n")
    assert len(cues) > 1
    for cue in cues:
        _, times, *lines = cue.splitlines()
        start_s, end_s = map(_seconds, times.split(" --> "))
        assert 0 < end_s - start_s <= (most_s or 7.0) + 0.001
        assert 1 <= len(lines) <= 2


def test_openais_client_reads_json_and_verbose_json(sdk):
    plain = sdk.audio.transcriptions.create(model="nano", file=("a.wav", recording()))
    assert (plain.text, plain.usage.type) == (transcript().text, "duration")
    verbose = sdk.audio.transcriptions.create(
        model="nano", file=("a.wav", recording()), response_format="verbose_json", timestamp_granularities=["segment"]
    )
    assert verbose.text == transcript().text
    assert isinstance(verbose.duration, float)
    assert [(s.start, s.end, s.text) for s in verbose.segments] == [
        (round(s.start_s, 3), round(s.end_s, 3), s.text) for s in transcript().segments
    ]
    for segment in verbose.segments:
        assert segment.tokens
        assert segment.avg_logprob <= 0
        assert 0 <= segment.no_speech_prob < 0.5
        assert segment.compression_ratio > 0
    assert verbose.language == "unknown"


class _StrictUsage(msgspec.Struct, forbid_unknown_fields=True):
    type: Literal["duration"]
    seconds: float


class _StrictSegment(msgspec.Struct, forbid_unknown_fields=True):
    id: int
    seek: int
    start: float
    end: float
    text: str
    tokens: list[int]
    temperature: float
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float


class _StrictTranscript(msgspec.Struct, forbid_unknown_fields=True):
    """`verbose_json` by OpenAI's specification, whose clients in typed languages take no string for a number."""

    task: str
    language: str
    duration: float
    text: str
    segments: list[_StrictSegment]
    usage: _StrictUsage


def test_a_number_of_verbose_json_is_a_number(client):
    answer = _post(client, recording(), response_format="verbose_json")
    read = msgspec.json.decode(answer.content, type=_StrictTranscript, strict=True)
    assert read.duration == read.usage.seconds == pytest.approx(transcript().duration_s, abs=0.001)
    assert len(read.segments) == 2


def test_openais_client_reads_a_stream(sdk):
    stream = sdk.audio.transcriptions.create(
        model="nano", file=("a.wav", recording()), response_format="json", stream=True, include=["logprobs"]
    )
    events = list(stream)
    assert [event.type for event in events] == ["transcript.text.delta"] * 2 + ["transcript.text.done"]
    assert "".join(event.delta for event in events[:-1]) == events[-1].text == transcript().text
    usage = events[-1].usage
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens
    assert usage.input_tokens == usage.input_token_details.text_tokens + usage.input_token_details.audio_tokens
    assert usage.input_token_details.audio_tokens > usage.input_token_details.text_tokens
    written = b"".join(bytes(one.bytes) for one in events[-1].logprobs).decode()
    assert written.replace(" ", "") == transcript().text.replace(" ", "")


def test_a_stream_of_verbose_json_holds_segments(client):
    events = _events(_post(client, recording(), response_format="verbose_json", stream="true", max_segment_s="1"))
    segments = [event for event in events if event["type"] == "transcript.text.segment"]
    assert " ".join(segment["text"] for segment in segments) == transcript().text
    assert [segment["id"] for segment in segments] == list(range(len(segments)))
    assert len(segments) > 2
    whole = _post(client, recording(), response_format="verbose_json", max_segment_s="1").json()["segments"]
    assert [{**segment, "type": "transcript.text.segment"} for segment in whole] == segments


def test_a_translation_is_asked_for_in_another_way(client):
    answer = _post(client, recording(), "/v1/audio/translations", response_format="verbose_json")
    with Model.load(nano_bundle(), threads=1) as model:
        wanted = model.transcribe(recording(), translate_to="en")
    assert (answer.json()["task"], answer.json()["text"]) == ("translate", wanted.text)


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"response_format": "diarized_json"}, "response_format", None),
        ({"response_format": "srt", "stream": "true"}, "stream", None),
        ({"stream": "maybe"}, "stream", None),
        ({"language": "tlh"}, "language", None),
        ({"timestamp_granularities[]": "word"}, "timestamp_granularities", "word_timestamps_unavailable"),
        ({"timestamp_granularities": "page"}, "timestamp_granularities", None),
        ({"include[]": "logprobs", "response_format": "srt"}, "include", None),
        ({"temperature": "hot"}, "temperature", None),
        ({"max_segment_s": "0"}, "max_segment_s", None),
        ({"max_segment_s": "nan"}, "max_segment_s", None),
        ({"chunking_strategy": "{"}, "chunking_strategy", None),
        ({"chunking_strategy": "semantic"}, "chunking_strategy", None),
        ({"chunking_strategy[type]": "server_vad", "chunking_strategy[silence_duration_ms]": "1"},
         "chunking_strategy.silence_duration_ms", None),
    ],
)  # fmt: skip
def test_a_field_that_cannot_be_used_is_named(client, fields, param, code):
    answer = _post(client, SENTENCE.read_bytes(), **fields)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (400, param, code), error
    assert answer.headers["x-should-retry"] == "false"


def test_fields_without_effect_are_named(client):
    fields = {"prompt": "names", "temperature": "0.5", "hotwords": "x", "language": "en", "model": "whisper-1"}
    answer = _post(client, SENTENCE.read_bytes(), **fields, **{"timestamp_granularities[]": ["word", "segment"]})
    assert answer.status_code == 200
    assert answer.headers["x-edgephi-ignored"] == "hotwords, prompt, temperature, timestamp_granularities.word"


def test_words_are_null_where_they_were_asked_for_with_segments(client):
    fields = {"timestamp_granularities[]": ["word", "segment"], "response_format": "verbose_json", "language": "de"}
    answer = _post(client, SENTENCE.read_bytes(), **fields)
    assert (answer.json()["words"], answer.json()["language"]) == (None, "de")
    assert answer.headers["x-edgephi-ignored"] == "timestamp_granularities.word"  # it says why


def test_a_pause_of_the_users_choice_cuts_the_recording(client):
    strategy = json.dumps({"type": "server_vad", "silence_duration_ms": 5000})
    answer = _post(client, recording(), response_format="verbose_json", chunking_strategy=strategy)
    assert len(answer.json()["segments"]) == 1


def test_two_recordings_at_once_each_get_their_own_text(server):
    def one(number: int) -> str:
        with server.client() as client:
            content = recording() if number % 2 else SENTENCE.read_bytes()
            return _post(client, content, response_format="text").text

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        texts = list(pool.map(one, range(4)))
    assert texts[0] == texts[2] != texts[1] == texts[3]


def test_metrics_count_the_seconds(client):
    def seconds() -> float:
        found = re.search(r"^edgephi_audio_seconds_total (\S+)", client.get("/metrics").text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    before = seconds()
    _post(client, recording())
    assert seconds() - before == pytest.approx(transcript().duration_s)


def test_a_chat_waits_for_a_segment_and_not_for_the_recording(server):
    """A chat and a short recording are answered while the long one is still being written down."""
    samples, rate = soundfile.read(io.BytesIO(recording()), dtype="float32")
    made = io.BytesIO()
    soundfile.write(made, np.tile(samples, 6), rate, format="WAV")
    ended: list[str] = []
    with server.client() as own, server.client() as other:

        def transcribe() -> None:
            assert _post(own, made.getvalue(), response_format="text").text.count("\n") >= 12
            ended.append("transcript")

        thread = threading.Thread(target=transcribe)
        thread.start()
        ends_s = time.monotonic() + 10
        while "edgephi_requests_running 1.0" not in other.get("/metrics").text and time.monotonic() < ends_s:
            time.sleep(0.002)
        asked = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 1}
        assert other.post("/v1/chat/completions", json=asked).status_code == 200
        ended.append("chat")
        assert _post(other, (NANO / "command.wav").read_bytes()).json()["text"] == "open the kitchen window"
        ended.append("clip")
        thread.join()
    assert ended == ["chat", "clip", "transcript"]


@pytest.mark.slow
def test_a_recording_of_hours_takes_no_more_memory_than_one_of_ten_minutes(start, tmp_path):
    """Of silence with four words, so that the model's own memory is the same: what grows would grow with the length."""
    samples, rate = soundfile.read(NANO / "command.wav", dtype="int16")

    def file(minutes: int) -> Path:
        path = tmp_path / f"{minutes}.flac"
        with soundfile.SoundFile(path, "w", rate, 1, format="FLAC") as out:
            for _ in range(4):
                out.write(samples)
                for _ in range(minutes):
                    out.write(np.zeros(rate * 15, "int16"))
        return path

    running = start()

    def transcribe(minutes: int) -> int:
        """The most memory that the server held, in KiB."""
        running.reset_peak()
        with running.client() as client, file(minutes).open("rb") as content:
            files = {"file": ("a.flac", content)}
            answer = client.post("/v1/audio/transcriptions", files=files, data={"response_format": "srt"}, timeout=900)
        assert answer.text.count("-->") == 4
        return running.state().peak_kib

    transcribe(10)  # what the first requests leave in memory is not counted
    # Equal requests differ by 40 MB, by which thread's memory is used again.
    peak, later_peak = max(transcribe(10) for _ in range(3)), transcribe(LONG_MIN)
    print(f"{peak:,} KiB with 10 minutes, {later_peak:,} KiB with {LONG_MIN} minutes")
    assert later_peak - peak < 30 * 1024
