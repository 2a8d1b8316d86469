"""Whoever waits for minutes sees how far the work is; log files get lines; measurements are not disturbed."""

from __future__ import annotations

import io
import sys
import threading
from functools import partial

import pytest

from edgephi.base.step import Step
from edgephi.base.units import human_duration, rate_and_time_left
from edgephi.console.progress_bar import ProgressBar

_BAR = "\N{BOX DRAWINGS HEAVY HORIZONTAL}"


class _Screen(io.StringIO):
    """A stderr that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def _facts(done: int, elapsed_s: float) -> str:
    return f"{done} of 10 after {elapsed_s:.0f} s"


def _step(label: str, done: int) -> Step:
    return Step(label=label, done=done, total=10, facts=partial(_facts, done))


def _terminal(monkeypatch: pytest.MonkeyPatch) -> _Screen:
    screen = _Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    for name, value in {"TERM": "xterm", "COLUMNS": "60"}.items():
        monkeypatch.setenv(name, value)
    return screen


def test_a_terminal_shows_a_bar_with_facts_and_nothing_is_left_of_it(monkeypatch: pytest.MonkeyPatch):
    screen = _terminal(monkeypatch)
    with ProgressBar() as bar:
        bar.show(_step("writing [bold]a", 3))
        bar.show(_step("writing b", 7))
        bar._bar.refresh()  # type: ignore[union-attr]
    shown = screen.getvalue()
    assert _BAR in shown
    assert "7 of 10 after 0 s" in shown
    assert shown.endswith("\x1b[2K")  # the line is erased


def test_a_measurement_is_drawn_between_its_steps_only(monkeypatch: pytest.MonkeyPatch):
    """A thread that draws would take time from what is measured."""
    screen = _terminal(monkeypatch)
    before = set(threading.enumerate())
    with ProgressBar(is_animated=False) as bar:
        bar.show(Step(label="[1/4] decode", done=0, total=4))
        assert set(threading.enumerate()) <= before
        assert "[1/4] decode" in screen.getvalue()
        length = len(screen.getvalue())
        bar.show(Step(label="[2/4] decode", done=1, total=4))
        assert "[2/4] decode" in screen.getvalue()[length:]


def test_what_is_worth_reading_afterwards_stays_on_the_screen(monkeypatch: pytest.MonkeyPatch):
    screen = _terminal(monkeypatch)
    note = "llama.cpp will not be measured: " + "it is not there " * 6
    with ProgressBar(is_animated=False) as bar:
        bar.show(Step(label="[1/4] decode", done=0, total=4))
        bar.show(Step(label=note, done=1, total=4, stays=True))
        bar.show(Step(label="[2/4] decode", done=1, total=4))
    assert f"{note}\n" in screen.getvalue()


def test_a_long_label_keeps_to_one_line_of_the_terminal(monkeypatch: pytest.MonkeyPatch):
    """A line that wraps is not erased whole: each step would leave a part of it."""
    screen = _terminal(monkeypatch)
    with ProgressBar(is_animated=False) as bar:
        bar.show(Step(label="x" * 300, done=0, total=4))
        assert screen.getvalue().count("x") < 60


@pytest.mark.parametrize("term", ["dumb", None])
def test_without_a_terminal_there_are_lines(term: str | None, monkeypatch: pytest.MonkeyPatch):
    stream = _Screen() if term else io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", term or "xterm")
    clock = iter([100.0, 101.0, 105.0, 112.0, 113.0, 114.0])
    monkeypatch.setattr("edgephi.console.progress_bar.time.monotonic", lambda: next(clock))
    with ProgressBar() as bar:
        for done, label in enumerate(["writing a", "writing a", "writing a", "writing a", "writing b\x1b[2J"]):
            bar.show(_step(label, done))
        bar.show(Step(label="one is missing", done=4, total=10, stays=True))
    assert stream.getvalue().splitlines() == [
        "writing a",
        "writing a: 3 of 10 after 12 s",
        "writing b\N{REPLACEMENT CHARACTER}[2J",
        "one is missing",
    ]


def test_durations_have_the_unit_that_people_would_use():
    assert [human_duration(seconds) for seconds in (0.4, 89, 90, 5399, 5400)] == [
        "0 s", "89 s", "2 min", "90 min", "1.5 h",
    ]  # fmt: skip
    assert rate_and_time_left(0, 10, 0.0) == "0 MB/s"
    assert rate_and_time_left(2_000_000, 8_000_000, 1.0) == "2 MB/s, 3 s left"
