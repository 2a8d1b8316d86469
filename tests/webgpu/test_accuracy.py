"""Held-out items of each kind have as many right answers on a GPU as on the CPU.

The GPU verifies the tokens of the CPU's reply, up to sixteen in one pass: each is chosen from its own logits, as if it
had been alone, and one that it would not choose ends the agreement. The software GPU takes 3 seconds of a core for a
recording and 9 for an image all the same, so `make webgpu` asks a few items, and `make webgpu-accuracy` 50 of a kind.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgephi import Model, SamplingOptions
from edgephi.base.cancellation import never
from edgephi_evaluate.answer import Answer
from edgephi_evaluate.engines.edgephi_engine import EdgephiEngine
from edgephi_evaluate.engines.engine import AnswerRules
from edgephi_evaluate.item import Item
from edgephi_nano.accuracy import Place, measure
from edgephi_nano.evaluation_items import write_items
from edgephi_nano.questions import SETS, QuestionSet
from support.gpu_folders import gpu_folder

pytestmark = pytest.mark.webgpu

COUNT = int(os.environ.get("EDGEPHI_GPU_ITEMS", "3"))
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


class _PredictingEngine(_LoadedEngine):
    """Has the answers of another as drafts."""

    def __init__(self, model: Model, folder: Path, predicted: dict[str, Answer]) -> None:
        super().__init__(model, folder)
        self._predicted = predicted

    def options(self, item: Item, rules: AnswerRules) -> SamplingOptions:
        text = self._predicted[item.id].text
        return replace(super().options(item, rules), speculation=True, prediction=text)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.suite)
def test_items_of_each_kind_are_answered_as_well_as_on_the_cpu(
    on: Callable[..., Model], kind: QuestionSet, tmp_path: Path
):
    place, folder = Place(tmp_path), gpu_folder("int4")
    write_items(place.data, (kind,), COUNT)
    cpu = _LoadedEngine(on("cpu"), folder)
    gpu = _PredictingEngine(on("webgpu"), folder, cpu.answers)
    on_cpu, on_gpu = measure({"cpu": cpu, "webgpu": gpu}, kind, place)
    assert (on_gpu.figure, on_gpu.count) == (on_cpu.figure, COUNT)
    assert all(gpu.answers[name].token_ids == answer.token_ids for name, answer in cpu.answers.items())
