"""Who waits for whom, as the figures say it: questions count to their first token, images to their end."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from edgephi.base.errors import EdgeError
from edgephi_bench.latency.request_kinds import RequestKind
from edgephi_bench.measure.condition import Condition
from edgephi_bench.serving.answers import Answer
from edgephi_bench.serving.fairness import fairness_figures, measure_fairness

IMAGE = RequestKind(
    mode="vision", condition=Condition(kind="request", image_width=8, image_height=6), prompt_tokens=0, new_tokens=5
)


def _answer(first_s: float, end_s: float) -> Answer:
    return Answer(first_s=first_s, finish_s=end_s, end_s=end_s, text="", new_tokens=5, num_texts=5)


class _Runner:
    """A server that answers each image only once two more questions have been answered, or none comes any more."""

    new_tokens = 5

    def __init__(self, fails_at: int = 0) -> None:
        self.fails_at = fails_at
        self.questions = self.images = 0
        self.changed = threading.Condition()
        self.is_closed = False
        self.server = SimpleNamespace(close=self._close)

    def ready(self, kind: RequestKind, repeats: int) -> Any:
        assert (kind.mode, repeats) in (("text", 1), ("vision", 0))
        return SimpleNamespace(kind=kind)

    def ask_server(self, group: Any) -> tuple[list[Answer], float]:
        ((request,),) = group
        with self.changed:
            if request.kind.mode == "text":
                return self._question()
            self.images += 1
            goal = min(self.questions + 2, 6)
            assert self.changed.wait_for(lambda: self.questions >= goal or self.is_closed, 10)
            return [_answer(1.0, 10.0 * self.images)], 0.0

    def _question(self) -> tuple[list[Answer], float]:
        assert self.images > 0  # the server is busy before the first question
        self.questions += 1
        self.changed.notify_all()
        if self.questions == self.fails_at:
            raise EdgeError("the server is gone")
        return [_answer(float(self.questions), 99.0)], 0.0

    def _close(self) -> None:
        with self.changed:
            self.is_closed = True
            self.changed.notify_all()

    def ask_direct(self, group: Any) -> tuple[list[Answer], float]:
        return [_answer(1.0, 5.0) for _ in group[0]], 0.0


def test_questions_and_images_are_measured_beside_each_other() -> None:
    lines: list[str] = []
    result = measure_fairness(_Runner(), IMAGE, 6, lines.append)  # type: ignore[arg-type]
    figures = {figure.name: figure for figure in fairness_figures(result)}
    waits, whole, alone, share = figures.values()
    assert waits.samples == (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
    assert result.wait_p95_s == pytest.approx(5.75)
    assert whole.samples == tuple(10.0 * number for number in range(1, len(whole.samples) + 1))
    assert alone.samples == (5.0,) * min(len(whole.samples), 3)
    assert share.samples == tuple(end_s / 5.0 for end_s in whole.samples[:3])
    assert [figure.condition.clients for figure in figures.values()] == [2, 2, 2, 2]
    assert lines == [
        *(f"question {number} of 6 behind images" for number in range(1, 7)),
        "the same images by direct calls",
    ]


def test_a_question_that_fails_ends_the_images_too() -> None:
    """Else a run would wait for an image of a minute before it says why it ended."""
    runner = _Runner(fails_at=1)
    with pytest.raises(EdgeError, match="the server is gone"):
        measure_fairness(runner, IMAGE, 6, lambda line: None)  # type: ignore[arg-type]
    assert runner.is_closed
