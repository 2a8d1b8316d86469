"""Held-out items of each kind have as many right answers on a GPU as on the CPU.

The GPU reads every prompt with the CPU's reply behind it. If after each position it finds the next token of the reply
likeliest, its own reply is the same; where it finds another, it makes its own reply, which is judged.

Token by token the software GPU would take about a second of a core for each token, as its kernels for one to three rows
take longer than those for 16.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgephi import Model, Request
from edgephi.base.cancellation import never
from edgephi.bundle.bundle import Bundle
from edgephi.prompt.prompt_files import open_prompts
from edgephi_evaluate.answer import Answer
from edgephi_evaluate.engines.chat import messages_of
from edgephi_evaluate.engines.edgephi_engine import EdgephiEngine
from edgephi_evaluate.engines.engine import AnswerRules
from edgephi_evaluate.item import Item
from edgephi_nano.accuracy import Place, measure
from edgephi_nano.evaluation_items import write_items
from edgephi_nano.questions import SETS, QuestionSet
from support.gpu_folders import gpu_folder

pytestmark = pytest.mark.webgpu

COUNT = 50
KINDS = [one for one in SETS if one.suite in {"nano-speech", "nano-images", "nano-calls", "nano-spoken"}]


class _LoadedEngine(EdgephiEngine):
    """An engine that is loaded already, and keeps its answers."""

    def __init__(self, model: Model, folder: Path) -> None:
        super().__init__(model, folder)
        self.answers: dict[str, Answer] = {}

    def __enter__(self) -> _LoadedEngine:
        return self

    def __exit__(self, *_: Any) -> None:
        """The model is closed elsewhere."""

    def asked(self) -> _LoadedEngine:
        return self

    def answer(self, item: Item, rules: AnswerRules, should_stop: Callable[[], bool] = never) -> Answer:
        answer = self.answers[item.id] = super().answer(item, rules, should_stop)
        return answer


class _VerifyingEngine(_LoadedEngine):
    """Makes a reply only where it would not be that of another engine."""

    def __init__(self, model: Model, folder: Path, expected: dict[str, Answer]) -> None:
        super().__init__(model, folder)
        self._prompts, self._expected = open_prompts(Bundle(folder)), expected

    def answer(self, item: Item, rules: AnswerRules, should_stop: Callable[[], bool] = never) -> Answer:
        expected = self._expected[item.id]
        if self._likeliest(item, rules, expected.token_ids) != expected.token_ids:
            return super().answer(item, rules, should_stop)
        self.answers[item.id] = expected
        return expected

    def _likeliest(self, item: Item, rules: AnswerRules, reply: tuple[int, ...]) -> tuple[int, ...]:
        """The likeliest tokens after the prompt of an item and after each token of a reply but the last."""
        media = {kind: [one.read() for one in getattr(item, kind)] for kind in ("images", "audio")}
        request = Request(messages_of(item), **media)
        prompt = self._prompts.build(request.turns, request.tool_use.tools)
        logits = self._model.logits([*prompt.token_ids, *reply[:-1]], rows=len(reply), adapter=rules.adapter, **media)
        return tuple(logits.argmax(-1).tolist())


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.suite)
def test_items_of_each_kind_are_answered_as_well_as_on_the_cpu(
    on: Callable[..., Model], kind: QuestionSet, tmp_path: Path
):
    place, folder = Place(tmp_path), gpu_folder("int4")
    write_items(place.data, (kind,), COUNT)
    cpu = _LoadedEngine(on("cpu"), folder)
    gpu = _VerifyingEngine(on("webgpu"), folder, cpu.answers)
    on_cpu, on_gpu = measure({"cpu": cpu, "webgpu": gpu}, kind, place)
    assert (on_gpu.figure, on_gpu.count) == (on_cpu.figure, COUNT)
    assert {name: one.token_ids for name, one in gpu.answers.items()} == {
        name: one.token_ids for name, one in cpu.answers.items()
    }
