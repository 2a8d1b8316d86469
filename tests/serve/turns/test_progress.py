"""What is left of a request before its first token, and whether it may be paused."""

from __future__ import annotations

import itertools
from unittest import mock

import pytest

from edgephi import Stage
from edgephi_serve.turns.pace import Pace
from edgephi_serve.turns.progress import Progress


def _progress(*stages: Stage, positions: int = 0, position_s: float = 0.0) -> Progress:
    """One second passes before each stage but the first."""
    pace = Pace()
    if position_s:
        pace.note_prefill(100 * position_s, 100)
    progress = Progress(pace)
    progress.positions = positions
    with mock.patch("edgephi_serve.turns.progress.time.monotonic", side_effect=map(float, itertools.count())):
        for stage in stages:
            progress.note(stage)
    return progress


@pytest.mark.parametrize(
    ("stages", "left_s"),
    [
        ((), 0.0),
        ((Stage("encode", 0, 9),), 100.0),  # only the prefill's share is known
        ((Stage("encode", 0, 9), Stage("encode", 2, 9)), 3.5 + 100.0),
        ((Stage("encode", 0, 9), Stage("encode", 9, 9)), 100.0),
        ((Stage("prefill", 100, 300),), 20.0),  # at the pace of earlier requests
        ((Stage("prefill", 100, 300), Stage("prefill", 150, 300)), 3.0),
        ((Stage("encode", 0, 2), Stage("encode", 1, 2), Stage("prefill", 0, 1000), Stage("prefill", 500, 1000)), 1.0),
    ],
)
def test_what_is_left_is_reckoned_of_the_stage_that_runs_and_of_the_prefill_after_it(stages, left_s):
    """Else a photo's first half would not make room, since its second one, the prefill, had not begun."""
    assert _progress(*stages, positions=1000, position_s=0.1).left_s() == pytest.approx(left_s)


@pytest.mark.parametrize(
    ("stages", "next_s"),
    [
        ((), 0.0),
        ((Stage("prefill", 0, 300),), 0.0),  # a turn does something
        ((Stage("encode", 0, 9), Stage("encode", 2, 9)), 0.5),
        ((Stage("encode", 0, 9), Stage("prefill", 0, 300)), 30.0),  # how long a pass is shows after the first
        ((Stage("prefill", 0, 300), Stage("prefill", 100, 300)), 1.0),
        ((Stage("prefill", 0, 300), Stage("prefill", 200, 300)), 0.5),
    ],
)
def test_the_next_crop_or_pass_is_reckoned_as_long_as_those_before(stages, next_s):
    """A question that waits until the end of a crop and then of a pass waits twice as long as the slice."""
    assert _progress(*stages, positions=1000, position_s=0.1).next_s() == pytest.approx(next_s)


def test_a_turn_after_a_pause_does_a_pass_however_long():
    progress = _progress(Stage("prefill", 0, 300), Stage("prefill", 100, 300), position_s=0.1)
    progress.end_turn()
    progress.note(Stage("prefill", 100, 300))
    assert progress.next_s() == 0.0


@pytest.mark.parametrize("stage", [Stage("encode", 0, 9), Stage("prefill", 0, 9)])
def test_where_no_pace_is_known_nothing_is_said_to_be_left(stage):
    progress = _progress(stage, positions=1000)
    assert (progress.left_s(), progress.next_s()) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("paused_at", "resumed_at", "is_kept"),
    [
        (Stage("encode", 3, 9), Stage("encode", 3, 9), True),
        (Stage("encode", 3, 9), Stage("encode", 2, 9), False),
        (Stage("encode", 12, 20), Stage("encode", 2, 10), True),  # the first image is wholly known by now
        (Stage("encode", 3, 9), Stage("prefill", 0, 500), True),  # another request encoded the rest
        (Stage("prefill", 256, 500), Stage("prefill", 256, 500), True),
        (Stage("prefill", 256, 500), Stage("prefill", 255, 500), False),
        (Stage("prefill", 256, 500), Stage("encode", 8, 9), False),  # the embedding was evicted
    ],
)
def test_it_is_paused_again_only_where_nothing_was_lost(paused_at, resumed_at, is_kept):
    progress = _progress(paused_at)
    progress.end_turn()
    assert progress.note(resumed_at) is is_kept
    assert progress.is_kept is is_kept


def test_a_reply_that_has_tokens_is_not_paused():
    """It would be sent twice: the prefill in its midst is of a context that outgrew the short rotary factors."""
    progress = _progress(Stage("prefill", 0, 9))
    assert progress.note(Stage("prefill", 5, 9))
    assert not progress.note(Stage("decode", 1, 100))
    assert not progress.note(Stage("prefill", 0, 4097))


@pytest.mark.parametrize("stage", [Stage("queue", 0, 3), Stage("load", 0, 1), Stage("preprocess", 0, 2)])
def test_other_stages_are_not_paused(stage):
    assert not _progress().note(stage)
