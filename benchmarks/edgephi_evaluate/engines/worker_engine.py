"""A model folder in several workers at once: processes of this machine, or actors of Ray, as `edgephi batch` has them.

Answers are judged by whoever asks, so that workers need the runtime alone.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgephi.base.json_file import decode
from edgephi.bundle.bundle import Bundle
from edgephi_batch.engines.plan import WorkerOptions, WorkerPlan
from edgephi_batch.row import Row
from edgephi_batch.work.work import Do, WorkerModel
from edgephi_batch.workforce import Workforce, worker_bytes
from edgephi_evaluate.answer import Answer
from edgephi_evaluate.engines.edgephi_engine import EdgephiEngine, folder_identity
from edgephi_evaluate.engines.engine import AnswerRules
from edgephi_evaluate.item import Item
from edgephi_evaluate.runs.identity import EngineIdentity


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one item: its answer, or why it has none."""

    id: str
    answer: Answer | None
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerWork:
    """What each worker does.

    Attributes:
        model: In each worker.
        rules: Of the suite.
    """

    model: WorkerModel
    rules: AnswerRules

    def open(self) -> Do[Item]:
        """Load the model.

        Raises:
            EdgeError: As `Model.load`.
        """
        engine = EdgephiEngine(self.model.load(), Path(self.model.path))

        def answered(item: Item, should_stop: Callable[[], bool]) -> Row:
            answer = engine.answer(item, self.rules, should_stop)
            return Row.of({"id": item.id, "error": None, "answer": dataclasses.asdict(answer)})

        return answered

    def failed(self, item: Item, error: str, elapsed_s: float) -> Row:  # noqa: ARG002 - as all work
        """A row with the error alone."""
        return Row.of({"id": item.id, "error": error, "answer": None})


class WorkerEngine:
    """Answers many items at once, in any order. Its answers are those of `EdgephiEngine`, and so is its identity.

    Args:
        model: In each worker.
        options: The workers.
        on_start: Called with the workers before they start.

    Raises:
        ArtifactError: The folder is damaged.
    """

    def __init__(self, model: WorkerModel, options: WorkerOptions, on_start: Callable[[Workforce], None]) -> None:
        self._model, self._options, self._on_start = model, options, on_start
        self._bundle = Bundle(Path(model.path))
        self._identity = folder_identity(self._bundle, Path(model.path), model.options.kv_cache)

    @property
    def identity(self) -> EngineIdentity:
        """See Engine."""
        return self._identity

    def answers(self, items: Sequence[Item], rules: AnswerRules) -> Generator[Outcome, None, None]:
        """One outcome for each item; closing the generator ends the workers.

        Raises:
            CapacityError: There is no memory for the workers.
            EdgeError: Ray or the workers cannot be started, or a worker cannot load the model.
        """
        need = worker_bytes(
            self._bundle,
            self._model.options,
            has_images=any(item.images for item in items),
            has_audio=any(item.audio for item in items),
        )
        plan = WorkerPlan(options=self._options, worker_bytes=need)
        seen = set[str]()
        for row in plan.rows(lambda threads: self._work(threads, rules), items, self._on_start):
            if row.id not in seen:  # a block that was done twice
                seen.add(row.id)
                yield _outcome(row)

    def _work(self, threads: int, rules: AnswerRules) -> AnswerWork:
        chosen = dataclasses.replace(self._model.options, threads=threads)
        return AnswerWork(model=dataclasses.replace(self._model, options=chosen), rules=rules)


def _outcome(row: Row) -> Outcome:
    fields = json.loads(row.line)
    if row.is_failed:
        return Outcome(id=row.id, answer=None, error=str(fields["error"]))
    return Outcome(id=row.id, answer=decode(Answer, fields["answer"], f"the answer to item {row.id}"))
