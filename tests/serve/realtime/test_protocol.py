"""What a client may send in a session, and what it gets for what it may not."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pytest

from edgephi import Model, WindowRules
from support.bundles import nano_bundle
from support.realtime import BUFFER, TRANSCRIPT, raw, session, speech

PCM = {"type": "audio/pcm", "rate": 16_000}
COMPLETED, DELTA = f"{TRANSCRIPT}completed", f"{TRANSCRIPT}delta"


@pytest.fixture(scope="module")
def nano() -> Iterator[Model]:
    with Model.load(nano_bundle(), threads=1) as model:
        yield model


def _whole(nano: Model, samples: np.ndarray) -> str:
    """The text of audio that no pause cuts."""
    waveform = samples.astype(np.float32) / 32768
    segments = nano.transcribe((waveform, 16_000), rules=WindowRules(pause_s=1000.0)).segments
    return " ".join(segment.text for segment in segments)


def test_a_session_is_described_as_it_is(server):
    with session(server.url, format={"type": "audio/pcmu"}, transcription={"model": "x", "language": "en"}) as opened:
        before, after = opened.created.session, opened.updated.session
    assert (before.type, before.object, before.id[:5]) == ("transcription", "realtime.transcription_session", "sess_")
    assert (before.audio.input.format.type, before.audio.input.format.rate) == ("audio/pcm", 24_000)
    assert before.audio.input.turn_detection.silence_duration_ms == 500
    assert after.id == before.id
    assert (after.audio.input.format.type, after.audio.input.transcription.language) == ("audio/pcmu", "en")
    assert after.audio.input.transcription.model == "nano"


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"type": "realtime"}, "session.type"),
        ({"audio": {"input": {"format": {"type": "audio/pcm", "rate": 44_100}}}}, "session.audio.input.format.rate"),
        ({"audio": {"input": {"format": {"type": "audio/pcmu", "rate": 16_000}}}}, "session.audio.input.format.rate"),
        ({"audio": {"input": {"format": {"type": "audio/opus"}}}}, "session.audio.input.format.type"),
        ({"audio": {"input": {"turn_detection": {"type": "semantic_vad"}}}}, "session.audio.input.turn_detection.type"),
        (
            {"audio": {"input": {"turn_detection": {"silence_duration_ms": 20}}}},
            "session.audio.input.turn_detection.silence_duration_ms",
        ),
        ({"audio": {"input": {"transcription": {"language": "xx"}}}}, "session.audio.input.transcription.language"),
        ({"audio": {"input": {"noise_reduction": {"type": "near_field"}}}}, "session.audio.input.noise_reduction"),
        ({"include": ["item.other"]}, "session.include"),
    ],
)
def test_what_a_session_cannot_be_is_refused_and_changes_nothing(server, change, param):
    with session(server.url) as opened:
        update = {"type": "session.update", "event_id": "mine", "session": {"type": "transcription", **change}}
        opened.connection.send(update)
        error = opened.failed()
        assert (error.type, error.param, error.event_id) == ("invalid_request_error", param, "mine")
        opened.connection.session.update(session={"type": "transcription"})
        assert opened.next().session == opened.updated.session


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ({"type": "response.create"}, "unsupported_event"),
        ({"type": "input_audio_buffer.append", "audio": "no base64!"}, None),
        ({"type": "input_audio_buffer.append"}, None),
        ({"type": "input_audio_buffer.commit"}, "input_audio_buffer_commit_empty"),
        ({"type": 3}, None),
        ({}, None),
    ],
)
def test_other_messages_are_refused_and_the_session_goes_on(server, message, code):
    with session(server.url) as opened:
        opened.connection.send({**message, "event_id": "mine"})
        error = opened.failed()
        assert (error.type, error.code) == ("invalid_request_error", code)
        opened.connection.input_audio_buffer.clear()
        assert opened.next().type == f"{BUFFER}cleared"


def test_format_and_turns_stay_once_audio_has_come(server):
    with session(server.url, format=PCM) as opened:
        opened.append(bytes(3_200))
        opened.connection.session.update(session={"type": "transcription", "audio": {"input": {"format": PCM}}})
        assert opened.next().type == "session.updated"
        opened.connection.session.update(
            session={"type": "transcription", "audio": {"input": {"turn_detection": None}}}
        )
        assert opened.failed().code == "session_has_begun"


def test_an_item_by_hand_is_all_audio_before_its_commit(server, nano):
    first, second = speech(0.3, 1.5, hertz=16_000), speech(0.2, hertz=16_000)
    with session(server.url, format=PCM, turn_detection=None) as opened:
        for samples in (first, second):
            opened.append(samples.tobytes(), 3_201)
            opened.commit()
        opened.until(COMPLETED, 2)
    assert opened.texts() == [_whole(nano, first), _whole(nano, second)]
    assert list(opened.deltas().values()) == opened.texts()
    assert not opened.all(f"{BUFFER}speech_started")
    assert len(opened.all(f"{BUFFER}committed")) == 2
    assert opened.all(COMPLETED)[0].usage.seconds == pytest.approx(len(first) / 16_000, abs=1.5)


@pytest.mark.slow
def test_a_long_item_by_hand_has_the_text_of_all_its_windows(server, nano):
    samples = speech(*[0.2] * 16, hertz=16_000)
    assert len(samples) > 32 * 16_000
    with session(server.url, format=PCM, turn_detection=None) as opened:
        opened.append(samples.tobytes(), 200_000)
        opened.commit()
        opened.until(COMPLETED)
    assert opened.texts() == [_whole(nano, samples)]
    assert list(opened.deltas().values()) == opened.texts()


def test_silence_by_hand_is_an_item_without_words(server):
    with session(server.url, format=PCM, turn_detection=None) as opened:
        opened.append(bytes(1_600))
        opened.commit()
        assert opened.failed().code == "input_audio_buffer_commit_empty"
        opened.append(bytes(3_200))
        opened.commit()
        opened.until(COMPLETED)
    assert opened.texts() == [""]


def test_times_are_those_of_all_audio_also_after_items_that_were_ended_in_the_midst_of_a_frame(server):
    silence, samples = bytes(3_520), speech(0.5, hertz=16_000)
    with session(server.url, format=PCM) as opened:
        opened.append(samples.tobytes())
        alone = opened.until(f"{BUFFER}speech_started").audio_start_ms
    with session(server.url, format=PCM) as opened:
        for _ in range(20):
            opened.append(silence)
            opened.commit()
        opened.append(samples.tobytes())
        started = opened.until(f"{BUFFER}speech_started")
        assert opened.until(f"{BUFFER}speech_stopped").audio_end_ms > started.audio_start_ms
    assert started.audio_start_ms - 20 * 110 == pytest.approx(alone, abs=40)


@pytest.mark.parametrize("detection", [None, {"type": "server_vad"}])
def test_cleared_audio_is_in_no_item(server, nano, detection):
    kept = speech(0.3, hertz=16_000)
    with session(server.url, format=PCM, turn_detection=detection) as opened:
        opened.append(speech(0.3, 0.3, hertz=16_000)[:24_000].tobytes() + b"\1")
        opened.connection.input_audio_buffer.clear()
        opened.until(f"{BUFFER}cleared")
        opened.append(kept.tobytes())
        if detection is None:
            opened.commit()
        opened.until(COMPLETED)
    assert opened.texts() == [_whole(nano, kept)]


def test_words_come_while_they_are_spoken_and_settled_ones_stay(server):
    """Each piece is sent once the partial caption of those before it has come."""
    samples = speech(*[0.2] * 4, hertz=16_000)[: 10 * 16_000]
    include = ["edgephi.tail", "item.input_audio_transcription.logprobs"]
    with session(server.url, format=PCM, turn_detection=None, include=include) as opened:
        for count in range(1, 6):
            opened.append(samples[(count - 1) * 28_000 : count * 28_000].tobytes(), 3_200)
            opened.until("edgephi.tail", count)
        partial = opened.deltas()
        opened.commit()
        done = opened.until(COMPLETED)
    (text,) = opened.texts()
    assert len(opened.all(DELTA)) >= 2
    assert set(partial) == {done.item_id}
    assert opened.deltas()[done.item_id].startswith(partial[done.item_id])
    assert {tail.item_id for tail in opened.all("edgephi.tail")} == {done.item_id}
    assert all(tail.lag_s >= 0 for tail in opened.all("edgephi.tail"))
    assert "".join(bytes(one.bytes).decode() for one in done.logprobs).strip().startswith(text[:5])
    assert all(one.logprob <= 0 for one in done.logprobs)


def test_a_client_that_speaks_no_json_is_closed_at_the_third_message(server):
    with session(server.url) as opened:
        for number in range(3):
            opened.connection.send_raw("{" if number % 2 else "[]")
            assert opened.failed().code == "invalid_json"
        assert opened.closed() == 1007


def test_a_message_that_is_too_long_closes_the_session(server):
    with session(server.url) as opened:
        opened.append(bytes(800_000))
        assert opened.closed() == 1009


def test_binary_messages_are_read_as_text(server):
    with raw(server.url) as socket:
        assert json.loads(socket.recv(timeout=10))["type"] == "session.created"
        socket.send(b'{"type": "input_audio_buffer.clear"}')
        assert json.loads(socket.recv(timeout=10))["type"] == "input_audio_buffer.cleared"
