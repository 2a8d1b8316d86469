"""A change of a session: what it leaves out stays, and what cannot be is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edgephi_serve.errors import ApiError
from edgephi_serve.reading.realtime import SessionState, read_message

STATE = SessionState(model="a", expires_at=0)
LOGPROBS = "item.input_audio_transcription.logprobs"


def _changed(state: SessionState = STATE, include: object = ..., **given: Any) -> SessionState:
    """The state after a message with these fields of the input."""
    session: dict[str, Any] = {"type": "transcription", "audio": {"input": given}}
    if include is not ...:
        session["include"] = include
    event = read_message(json.dumps({"type": "session.update", "session": session}).encode()).event
    return state.changed(event.session)  # type: ignore[union-attr]


def _detection(silence_ms: int) -> dict[str, Any]:
    return {"type": "server_vad", "silence_duration_ms": silence_ms}


@pytest.mark.parametrize("silence_ms", [300, 10_000])
def test_both_ends_of_the_range_of_silence_are_taken(silence_ms: int):
    assert _changed(turn_detection=_detection(silence_ms)).rules.pause_s == silence_ms / 1000


@pytest.mark.parametrize("silence_ms", [299, 10_001])
def test_silence_beyond_its_range_is_refused(silence_ms: int):
    with pytest.raises(ApiError) as refused:
        _changed(turn_detection=_detection(silence_ms))
    assert refused.value.message.endswith(f"silence_duration_ms is {silence_ms}; use 300 to 10000.")


@pytest.mark.parametrize(
    ("given", "rate"),
    [
        ({"type": "audio/pcm"}, 24_000), ({"type": "audio/pcm", "rate": 16_000}, 16_000),
        ({"type": "audio/pcm", "rate": 8_000}, 8_000), ({"type": "audio/pcmu"}, 8_000),
        ({"type": "audio/pcma", "rate": 8_000}, 8_000),
    ],
)  # fmt: skip
def test_rates_that_are_offered(given: dict[str, Any], rate: int):
    assert _changed(format=given).pcm.sample_rate_hz == rate


@pytest.mark.parametrize(
    "given",
    [{"type": "audio/pcm", "rate": 44_100}, {"type": "audio/pcmu", "rate": 16_000}, {"type": "audio/pcm", "rate": 0}],
)
def test_another_rate_is_refused(given: dict[str, Any]):
    with pytest.raises(ApiError) as refused:
        _changed(format=given)
    assert refused.value.param == "session.audio.input.format.rate"


def test_what_a_change_leaves_out_stays():
    first = _changed(
        transcription={"language": "de"}, include=[LOGPROBS], format={"type": "audio/pcmu"}, turn_detection=None
    )  # fmt: skip
    again = _changed(first)
    assert again == first
    assert (again.language, again.has_logprobs, again.pcm.encoding, again.is_by_hand) == ("de", True, "mulaw", True)
    other = _changed(first, turn_detection=_detection(700), include=[])
    assert (other.language, other.has_logprobs, other.pcm.encoding, other.is_by_hand) == ("de", False, "mulaw", False)
    assert _changed(first, transcription=None).language is None
