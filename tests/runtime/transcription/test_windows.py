"""Where a recording is cut: a wrong cut loses words, doubles them or dates them wrongly."""

from __future__ import annotations

import itertools
import math
import weakref

import numpy as np
import pytest

from edgephi.base.errors import ConfigError
from edgephi.transcription.speech import FRAME_S, Frame
from edgephi.transcription.windows import Window, WindowRules, cut_windows
from support.speech_model import frames_of, tone, turns


def _windows(samples: np.ndarray, **rules: float) -> list[Window]:
    return list(cut_windows(frames_of(samples), WindowRules(**rules)))


def _times(windows: list[Window]) -> list[tuple[float, float]]:
    return [(window.start_s, window.end_s) for window in windows]


def test_every_clear_pause_ends_a_window_and_times_are_those_of_the_speech():
    windows = _windows(turns(1.0, 2.0, 0.9, 3.0, 5.0, 1.0, 0.5))
    assert _times(windows) == [pytest.approx(times, abs=FRAME_S) for times in [(1.0, 3.0), (3.9, 6.9), (11.9, 12.9)]]
    # Silence around the words is kept, but not all of it.
    assert [len(window.samples) / 16_000 for window in windows] == [pytest.approx(s, abs=0.7) for s in (2.5, 3.5, 1.5)]
    assert all(np.abs(window.samples[:1000]).max() == 0 for window in windows)


def test_a_short_pause_stays_inside_a_window():
    assert _times(_windows(turns(0.5, 2.0, 0.4, 2.0, 1.0))) == [pytest.approx((0.5, 4.9), abs=FRAME_S)]
    assert len(_windows(turns(0.5, 2.0, 0.4, 2.0, 1.0), pause_s=0.3)) == 2


def test_a_full_window_is_cut_at_the_middle_of_the_longest_pause_of_its_second_half():
    # Pauses at 3 s (the longest of all, but early), 12 s, 16 s (the longest of the second half) and 19 s.
    speech = turns(0, 3.0, 0.5, 8.5, 0.3, 3.7, 0.45, 2.55, 0.3, 6.0)
    first, second = _windows(speech, window_s=20.0)
    assert first.end_s == pytest.approx(16.0, abs=FRAME_S)
    assert second.start_s == pytest.approx(16.45, abs=FRAME_S)
    assert second.first * FRAME_S == pytest.approx(16.225, abs=FRAME_S)


def test_with_one_early_pause_only_that_is_where_to_cut():
    """In the middle of a word is worse."""
    first, second = _windows(turns(0, 3.0, 0.5, 15.0), window_s=10.0)[:2]
    assert first.end_s == pytest.approx(3.0, abs=FRAME_S)
    assert second.start_s == pytest.approx(3.5, abs=FRAME_S)


def test_speech_without_a_pause_is_cut_where_it_is_quietest():
    speech = tone(70.0)
    for quiet_s in (20.0, 45.0):
        speech[round((quiet_s - 0.1) * 16_000) : round((quiet_s + 0.1) * 16_000)] *= 0.1
    windows = _windows(speech)
    assert [window.start_s for window in windows[:3]] == [pytest.approx(s, abs=0.1) for s in (0.0, 20.0, 45.0)]
    assert np.array_equal(np.concatenate([window.samples for window in windows]), speech)


@pytest.mark.parametrize("seed", range(12))
def test_whatever_the_recording_every_word_is_in_one_window_and_no_window_is_too_long(seed: int):
    rng = np.random.default_rng(seed)
    lengths = [s for _ in range(30) for s in (rng.exponential(0.5), rng.exponential(4.0) + 0.2)]
    frames = frames_of(turns(*lengths))
    rules = WindowRules(window_s=float(rng.uniform(2, 30)), pause_s=float(rng.uniform(0.3, 2)))
    counts = [0] * len(frames)
    for window in cut_windows(frames, rules):
        assert len(window.frames) * FRAME_S <= rules.window_s
        assert window.frames == tuple(frames[window.first : window.first + len(window.frames)])
        assert window.first <= window.speech[0] < window.speech[1] <= window.first + len(window.frames)
        for number in range(window.first, window.first + len(window.frames)):
            counts[number] += 1
    assert max(counts) == 1
    runs = [(loud, len(list(run))) for loud, run in itertools.groupby(frame.speech > 0 for frame in frames)]
    number = 0
    for loud, count in runs:
        if loud and count >= 6:  # shorter ones are clicks
            assert sum(counts[number : number + count]) == count
        number += count


def test_clicks_and_silence_are_not_speech():
    assert _windows(np.zeros(160_000, np.float32)) == []
    assert _windows(turns(2.0, 0.05, 3.0, 0.05, 2.0)) == []
    assert _times(_windows(turns(2.0, 0.05, 0.5, 1.0, 2.0))) == [pytest.approx((2.55, 3.55), abs=FRAME_S)]


def test_hours_take_no_more_memory_than_a_window():
    class Traced(Frame):
        __slots__ = ("__weakref__",)

    alive: weakref.WeakSet[Traced] = weakref.WeakSet()
    most = 0

    def frames():
        nonlocal most
        samples = np.zeros(512, np.float32)
        for number in range(int(900 / FRAME_S)):
            talking = math.sin(number / 400) > -0.5  # 80 s of speech, 40 s of silence
            frame = Traced(samples, float(talking))
            alive.add(frame)
            most = max(most, len(alive))
            yield frame

    windows = sum(1 for _ in cut_windows(frames(), WindowRules()))
    assert windows > 20
    assert most < 3 * 30 / FRAME_S


def test_halves_cover_the_same_speech_in_shorter_pieces():
    (window,) = _windows(turns(1.0, 5.0, 0.4, 4.0, 0.45, 6.0, 1.0))
    halves = window.halves()
    assert len(halves) >= 2
    assert all(len(half.frames) <= len(window.frames) // 2 for half in halves)
    assert halves[0].start_s == window.start_s
    assert halves[-1].end_s == window.end_s
    loud = sum(frame.speech for frame in window.frames)
    assert sum(frame.speech for half in halves for frame in half.frames) == loud


def test_a_window_of_a_second_is_not_cut_again():
    (window,) = _windows(turns(1.0, 0.8, 1.0))
    assert window.halves() == []


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"window_s": 31.0}, "window_s is 31.0; use 2 to 30 seconds"),
        ({"window_s": 1.0}, "window_s is 1.0; use 2 to 30"),
        ({"window_s": float("nan")}, "window_s is nan"),
        ({"pause_s": 0.1}, "pause_s is 0.1; use 0.3 seconds or more"),
    ],
)
def test_rules_that_make_no_sense_are_refused(rules: dict[str, float], message: str):
    with pytest.raises(ConfigError, match=message):
        WindowRules(**rules)


def _of(*runs: tuple[int, float]) -> list[Frame]:
    """Frames by their numbers and their probabilities of speech."""
    return [Frame(np.full(512, speech, np.float32), speech) for count, speech in runs for _ in range(count)]


def _spans(*runs: tuple[int, float], **rules: float) -> list[tuple[tuple[int, int], ...]]:
    return [window.spans for window in cut_windows(_of(*runs), WindowRules(**rules))]


def test_a_gap_of_six_frames_is_a_pause_and_one_of_five_is_none():
    assert _spans((9, 1), (5, 0), (9, 1)) == [((0, 23),)]
    assert _spans((9, 1), (6, 0), (9, 1)) == [((0, 9), (15, 24))]


def test_a_pause_of_just_its_length_ends_a_window():
    """0.6 s are 19 frames."""
    assert _spans((9, 1), (18, 0), (9, 1)) == [((0, 9), (27, 36))]
    assert _spans((9, 1), (19, 0), (9, 1)) == [((0, 9),), ((28, 37),)]


def test_six_frames_are_speech_and_five_a_click():
    assert _spans((30, 0), (5, 1), (30, 0)) == []
    assert _spans((30, 0), (6, 1), (30, 0)) == [((30, 36),)]


def test_it_takes_less_to_go_on_speaking_than_to_start():
    assert _spans((9, 0.4), (9, 0.5), (9, 0.4), (9, 0.3)) == [((9, 27),)]
    assert _spans((9, 0.5), (9, 0.35)) == [((0, 18),)]


def test_a_window_is_cut_as_soon_as_it_is_full():
    """2 s are 62 frames; no more are held."""
    taken = itertools.count()
    frames = (frame for frame in _of((200, 1)) if next(taken) >= 0)
    next(cut_windows(frames, WindowRules(window_s=2.0)))
    assert next(taken) == 62


def test_of_late_pauses_the_longest_is_taken_and_of_equal_ones_the_last():
    """Windows of 62 frames, whose second half begins at the 31st, which is the middle of a pause of eight."""
    rules = {"window_s": 2.0, "pause_s": 0.5}
    longest = _of((27, 1), (8, 0), (9, 1), (6, 0), (60, 1))
    assert next(cut_windows(longest, WindowRules(**rules))).speech == (0, 27)
    equal = _of((32, 1), (6, 0), (9, 1), (6, 0), (60, 1))
    assert next(cut_windows(equal, WindowRules(**rules))).speech == (0, 47)


def test_the_quietest_place_may_be_three_frames_before_the_end():
    frames = _of((200, 1))
    for number in range(56, 61):
        frames[number].samples[:] = 0
    assert next(cut_windows(frames, WindowRules(window_s=2.0))).speech == (0, 58)
