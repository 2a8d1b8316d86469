"""The way of one recording with a scripted model."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from edgephi.base.errors import ArtifactError, CapacityError
from edgephi.transcription.recording import open_recording
from edgephi.transcription.transcriber import TranscriptionOptions, transcribe
from edgephi.transcription.transcript import Segment
from edgephi.transcription.windows import WindowRules
from support.speech_model import LOGPROB, FakeModel, loudness, turns

OPTIONS = TranscriptionOptions(prompt="Write.", make_detector=lambda: loudness)
THREE = turns(1.0, 2.0, 1.0, 3.0, 1.0, 2.0, 1.0)


def _segments(
    script: Callable[[int, np.ndarray], Sequence[int]], samples: np.ndarray = THREE, hertz: int = 16_000
) -> tuple[list[Segment], FakeModel]:
    model = FakeModel(script)
    with open_recording((samples, hertz)) as recording:
        return list(transcribe(model, recording, OPTIONS)), model


@pytest.mark.parametrize("hertz", [16_000, 8_000])
def test_each_window_is_asked_for_once_and_dated(hertz: int):
    samples = turns(1.0, 2.0, 1.0, 3.0, 1.0, hertz=hertz)
    segments, model = _segments(lambda number, _: [number, 7], samples, hertz)
    assert [(s.text, s.is_gap) for s in segments] == [("0 7", False), ("1 7", False)]
    assert [s.start_s for s in segments] == [pytest.approx(t, abs=0.07) for t in (1.0, 4.0)]
    assert [s.end_s for s in segments] == [pytest.approx(t, abs=0.07) for t in (3.0, 7.0)]
    assert model.prompts == ["Write."] * 2
    for window, (start, end) in zip(model.windows, [(1.0, 3.0), (4.0, 7.0)], strict=True):
        loud = np.flatnonzero(np.abs(window) > 0.01)
        assert (loud[-1] - loud[0]) / hertz == pytest.approx(end - start, abs=0.01)  # no word is cut off


def test_confidence_is_the_geometric_mean_of_the_tokens_probabilities():
    segments, _ = _segments(lambda number, _: [1, 2, 3][:number])
    assert [s.confidence for s in segments] == [
        None,
        pytest.approx(math.exp(LOGPROB)),
        pytest.approx(math.exp(LOGPROB)),
    ]


def test_a_loop_is_stopped_at_once_and_its_window_transcribed_again_in_shorter_ones():
    samples = turns(1.0, 6.0, 0.4, 6.0, 1.0)
    segments, model = _segments(lambda number, _: [5] * 10_000 if number == 0 else [number], samples)
    assert [(s.text, s.is_gap) for s in segments] == [(str(n), False) for n in range(1, len(segments) + 1)]
    assert len(segments) >= 2
    assert model.made[0] == 16
    assert all(len(window) <= len(model.windows[0]) // 2 for window in model.windows[1:])
    assert segments[0].start_s == pytest.approx(1.0, abs=0.05)
    assert segments[-1].end_s == pytest.approx(13.4, abs=0.05)


def test_what_loops_again_is_a_gap_between_what_does_not():
    samples = turns(1.0, 6.0, 0.4, 6.0, 1.0)
    segments, _ = _segments(lambda number, _: [1, 2, 3] * 1000 if number < 2 else [9], samples)
    assert (segments[0].text, segments[0].confidence, segments[0].is_gap) == ("", None, True)
    assert all(s.text == "9" and not s.is_gap for s in segments[1:])


def test_a_loop_in_a_window_too_short_to_cut_is_a_gap_after_one_request():
    segments, model = _segments(lambda *_: [1] * 1000, turns(1.0, 0.8, 1.0))
    assert [s.is_gap for s in segments] == [True]
    assert len(model.windows) == 1


def test_a_reply_longer_than_any_language_needs_is_a_gap():
    """It cannot be right, even when it never repeats itself."""
    segments, model = _segments(lambda *_: range(10_000), turns(1.0, 1.0, 1.0))
    assert [s.is_gap for s in segments] == [True]
    assert 64 < model.budgets[0] < 100


def test_a_fault_of_the_model_comes_after_the_segments_before_it():
    def script(number: int, _: np.ndarray) -> list[int]:
        if number == 1:
            raise ArtifactError("speech.onnx: damaged")
        return [number]

    got: list[Segment] = []
    with open_recording((THREE, 16_000)) as recording, pytest.raises(ArtifactError, match=r"speech\.onnx"):
        got.extend(transcribe(FakeModel(script), recording, OPTIONS))
    assert [segment.text for segment in got] == ["0"]
    assert not [thread for thread in threading.enumerate() if thread.name == "read-ahead"]


def test_stopping_leaves_out_the_segment_that_was_not_finished():
    stopped = threading.Event()

    def script(number: int, _: np.ndarray) -> list[int]:
        if number == 1:
            stopped.set()
        return [1, 2, 3]

    with open_recording((THREE, 16_000)) as recording:
        segments = list(transcribe(FakeModel(script), recording, OPTIONS, should_stop=stopped.is_set))
    assert [s.text for s in segments] == ["1 2 3"]


def test_closing_in_the_middle_ends_the_reading_thread():
    with open_recording((np.tile(THREE, 20), 16_000)) as recording:
        made = transcribe(FakeModel(lambda *_: [1]), recording, OPTIONS)
        next(made)
        made.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "read-ahead"]


def test_shorter_windows_give_the_same_speech_in_more_segments():
    speech = turns(0.5, 5.0, 0.4, 5.0, 0.4, 5.0, 0.4, 5.0, 1.0)
    rules = TranscriptionOptions(prompt="", make_detector=lambda: loudness, rules=WindowRules(window_s=8.0))
    with open_recording((speech, 16_000)) as recording:
        parts = list(transcribe(FakeModel(lambda *_: [1]), recording, rules))
    assert len(parts) == 4
    assert len(_segments(lambda *_: [1], speech)[0]) == 1


def test_the_next_window_is_encoded_while_the_last_is_written_down():
    """And no more than that one: a long recording must not be encoded far ahead of its text."""
    seen: list[int] = []

    def script(number: int, _: np.ndarray) -> list[int]:
        for _ in range(2000):
            if len(model.ahead) == number + 2 or number == 2:
                break
            threading.Event().wait(0.005)
        threading.Event().wait(0.02)  # time enough for one that would not wait
        seen.append(len(model.ahead))
        return [1]

    model = FakeModel(script)
    with open_recording((THREE, 16_000)) as recording:
        list(transcribe(model, recording, OPTIONS))
    assert seen == [2, 3, 3]
    for ahead, asked in zip(model.ahead, model.windows, strict=True):
        np.testing.assert_array_equal(ahead, asked)


def test_a_window_that_could_not_be_encoded_ahead_is_left_to_its_request():
    """Two graphs at once may need more memory than one after the other."""

    class Full(FakeModel):
        def encode_ahead(self, **_: object) -> None:
            raise CapacityError("not enough free memory for speech.onnx")

    model = Full(lambda number, _: [number])
    with open_recording((THREE, 16_000)) as recording:
        segments = list(transcribe(model, recording, OPTIONS))
    assert [segment.text for segment in segments] == ["0", "1", "2"]
