"""Which events an item gets, whatever becomes of it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from edgephi import Segment
from edgephi.transcription.live.captions import FinalCaption, LostCaption, PartialCaption
from edgephi_serve.reading.realtime import SessionState
from edgephi_serve.wire.realtime import (
    AudioCleared,
    SpeechStarted,
    TranscriptCompleted,
    TranscriptDelta,
    TranscriptFailed,
)
from edgephi_serve.writing.realtime import (
    CommittedByHand,
    FinalText,
    Happening,
    RealtimeWriter,
    SpeechBegan,
    SpeechEnded,
)


def _events(*happenings: Happening, is_by_hand: bool = False) -> list[object]:
    state = SessionState(model="nano", expires_at=0, is_by_hand=is_by_hand, include=("edgephi.tail",))
    writer = RealtimeWriter(state, lambda token_id: bytes([token_id]))
    return [event for happening in happenings for event in writer.events(happening)]


def _partial(settled: str, added: str, tail: str = "", number: int = 0) -> PartialCaption:
    return PartialCaption(number=number, start_s=0.0, settled=settled, added=added, tail=tail, lag_s=0.2)


def _final(text: str, number: int = 0) -> FinalText:
    segment = Segment(start_s=0.0, end_s=1.0, text=text, confidence=None)
    return FinalText(FinalCaption(number=number, segments=(segment,), lag_s=0.1), ())


def _deltas(events: Sequence[object]) -> list[str]:
    return [event.delta for event in events if isinstance(event, TranscriptDelta)]


def _texts(events: Sequence[object]) -> list[str]:
    return [event.transcript for event in events if isinstance(event, TranscriptCompleted)]


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("the red box", [" box"]),
        ("the red", []),
        ("the reddish box", []),  # `red` would become another word
        ("a red box", []),
        ("", []),
    ],
)
def test_settled_words_are_not_taken_back_also_where_the_final_text_differs(text, rest):
    partials = [_partial("the", "the", " rod"), _partial("the red", " red", " bo")]
    events = _events(SpeechBegan(0, 0.0), *partials, SpeechEnded(0, 1.0, 1.2), _final(text))
    assert _deltas(events) == ["the", " red", *rest]
    assert _texts(events) == [text]


def test_characters_of_scripts_without_spaces_settle_too():
    events = _events(SpeechBegan(0, 0.0), _partial("你", "你", "好"), SpeechEnded(0, 1.0, 1.2), _final("你好吗"))
    assert _deltas(events) == ["你", "好吗"]


def test_what_comes_after_a_clear_is_in_an_item_of_its_own_and_late_captions_are_in_none():
    events = _events(
        SpeechBegan(0, 0.0),
        AudioCleared(),
        _partial("old", "old"),
        SpeechBegan(1, 2.0),
        SpeechEnded(1, 3.0, 1.2),
        _final("new", number=1),
    )
    first, second = [event.item_id for event in events if isinstance(event, SpeechStarted)]
    assert first != second
    assert (_deltas(events), _texts(events)) == (["new"], ["new"])


def test_an_item_that_was_committed_survives_a_clear():
    events = _events(SpeechBegan(0, 0.0), SpeechEnded(0, 1.0, 1.2), AudioCleared(), _final("kept"))
    assert _texts(events) == ["kept"]


def test_an_item_by_hand_waits_for_all_its_utterances():
    happenings = [SpeechBegan(0, 0.0), SpeechEnded(0, 30.0, 30.0), SpeechBegan(1, 30.0), SpeechEnded(1, 31.0, 1.0)]
    events = _events(*happenings, CommittedByHand(), _final("one"), is_by_hand=True)
    assert _texts(events) == []
    events = _events(*happenings, CommittedByHand(), _final("one"), _final("two", number=1), is_by_hand=True)
    assert (_deltas(events), _texts(events)) == (["one", " two"], ["one two"])
    (done,) = [event for event in events if isinstance(event, TranscriptCompleted)]
    assert done.usage.seconds == 31.0


def test_an_item_fails_once_and_gets_no_text():
    happenings = [SpeechBegan(0, 0.0), SpeechEnded(0, 30.0, 30.0), SpeechBegan(1, 30.0), SpeechEnded(1, 31.0, 1.0)]
    lost = LostCaption(number=0, start_s=0.0, end_s=30.0)
    events = _events(*happenings, CommittedByHand(), lost, _final("two", number=1), is_by_hand=True)
    assert [event.error.code for event in events if isinstance(event, TranscriptFailed)] == ["overloaded"]
    assert (_deltas(events), _texts(events)) == ([], [])
