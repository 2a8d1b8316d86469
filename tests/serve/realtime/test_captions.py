"""What a session writes down, by OpenAI's own client against the program itself."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import pytest
import soundfile

from edgephi import Model, Segment, WindowRules
from support.bundles import nano_bundle
from support.realtime import BUFFER, TRANSCRIPT, Session, session, speech

VAD = {"type": "server_vad", "silence_duration_ms": 600}
PAUSES = (0.8, 1.2, 0.7)


@pytest.fixture(scope="module")
def nano() -> Iterator[Model]:
    with Model.load(nano_bundle(), threads=1) as model:
        yield model


@pytest.fixture(scope="module")
def expected(nano: Model) -> tuple[Segment, ...]:
    samples = speech(*PAUSES).astype(np.float32) / 32768
    rules = WindowRules(window_s=20.0)
    return nano.transcribe((samples, 24_000), rules=rules).segments


def _items(opened: Session) -> list[tuple[int, int, str]]:
    """Of each item, when its speech began and ended, and its text."""
    return [
        (started.audio_start_ms, stopped.audio_end_ms, text)
        for started, stopped, text in zip(
            opened.all(f"{BUFFER}speech_started"), opened.all(f"{BUFFER}speech_stopped"), opened.texts(), strict=True
        )
    ]


@pytest.mark.parametrize(
    "size",
    [
        pytest.param(960, id="20 ms"),
        pytest.param(4_801, id="100 ms and odd bytes", marks=pytest.mark.slow),
        pytest.param(48_000, id="1 s", marks=pytest.mark.slow),
    ],
)
def test_items_are_the_segments_of_the_recording_however_it_is_cut(server, expected, size):
    with session(server.url, turn_detection=VAD) as opened:
        opened.append(speech(*PAUSES).tobytes(), size)
        opened.until(f"{TRANSCRIPT}completed", 3)
    assert _items(opened) == [(round(s.start_s * 1000), round(s.end_s * 1000), s.text) for s in expected]
    ids = [event.item_id for event in opened.all(f"{BUFFER}committed")]
    assert [event.previous_item_id for event in opened.all(f"{BUFFER}committed")] == [None, *ids[:-1]]
    assert [event.item.id for event in opened.all("conversation.item.added")] == ids
    assert [event.item.id for event in opened.all("conversation.item.done")] == ids
    assert [event.item_id for event in opened.all(f"{TRANSCRIPT}completed")] == ids
    assert list(opened.deltas().values()) == [segment.text for segment in expected]
    names = [event.event_id for event in opened.seen]
    assert len(set(names)) == len(names)


def _written(samples: np.ndarray, subtype: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, 8_000, format="RAW", subtype=subtype)
    return file.getvalue()


@pytest.mark.parametrize(
    ("kind", "subtype"),
    [
        ("audio/pcmu", "ULAW"),
        pytest.param("audio/pcma", "ALAW", marks=pytest.mark.slow),
        pytest.param("audio/pcm", "PCM_16", marks=pytest.mark.slow),
    ],
)
def test_telephone_speech(server, nano, kind, subtype):
    content = _written(speech(*PAUSES, hertz=8_000), subtype)
    samples, _ = soundfile.read(
        io.BytesIO(content), dtype="float32", format="RAW", subtype=subtype, samplerate=8_000, channels=1
    )
    texts = [one.text for one in nano.transcribe((samples, 8_000), rules=WindowRules(window_s=20.0)).segments]
    form = {"type": kind, "rate": 8_000} if kind == "audio/pcm" else {"type": kind}
    with session(server.url, turn_detection=VAD, format=form) as opened:
        opened.append(content, 1_601)
        opened.until(f"{TRANSCRIPT}completed", len(texts))
    assert opened.texts() == texts
    assert opened.updated.session.audio.input.format.type == kind
