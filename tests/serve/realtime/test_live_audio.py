"""What a commit takes, and the times of what is said after it."""

from __future__ import annotations

from typing import Any, cast

import pytest

from edgephi.transcription.live.utterances import SpeechStart
from edgephi_serve.endpoints.metrics import Metrics
from edgephi_serve.errors import ApiError
from edgephi_serve.reading.realtime import SessionState
from edgephi_serve.realtime.live_audio import LiveAudio
from edgephi_serve.settings import Settings
from edgephi_serve.turns.engine import Engine
from edgephi_serve.turns.jobs import Job
from edgephi_serve.writing.realtime import CommittedByHand, SpeechBegan

RATE_HZ = 24_000


class _Job:
    """Keeps what is emitted."""

    model = None

    def __init__(self) -> None:
        self.emitted: list[object] = []

    def emit(self, item: object) -> None:
        self.emitted.append(item)

    def should_stop(self) -> bool:
        return False

    def is_wanted(self) -> bool:
        return False


@pytest.fixture
def job() -> _Job:
    return _Job()


@pytest.fixture
def audio(job: _Job) -> LiveAudio:
    engine = Engine(Settings())
    made = LiveAudio(engine, Metrics(engine))
    made.begin(cast("Job[Any]", job), SessionState(model="a", expires_at=0, is_by_hand=True))
    return made


def _silence(num_samples: int) -> bytes:
    return bytes(2 * num_samples)


def test_a_tenth_of_a_second_is_enough_for_an_item(job: _Job, audio: LiveAudio):
    audio.push(_silence(RATE_HZ // 10 - 1))
    with pytest.raises(ApiError) as refused:
        audio.commit()
    assert refused.value.code == "input_audio_buffer_commit_empty"
    audio.push(_silence(1))
    audio.commit()
    assert [type(item) for item in job.emitted] == [CommittedByHand]
    with pytest.raises(ApiError, match="commit_empty"):  # all of it is in that item
        audio.commit()


def test_times_are_those_of_all_audio_though_a_commit_begins_a_new_frame(job: _Job, audio: LiveAudio):
    """0.4 s are twelve frames of 32 ms and half of one, which is filled up."""
    audio.push(_silence(RATE_HZ * 4 // 10))
    audio.commit()
    reached_s = audio._live.reached_s
    assert reached_s == pytest.approx(13 * 0.032)
    audio._on_speech(SpeechStart(0, reached_s + 1.0))
    assert isinstance(job.emitted[-1], SpeechBegan)
    assert job.emitted[-1].start_s == pytest.approx(1.4)
