"""Asks an engine the items of a suite that have no answer yet, and keeps every answer at once."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import soundfile

from edgephi.base.errors import EdgeError
from edgephi.base.step import OnStep, Step
from edgephi_bench.measure.energy import EnergyMeter
from edgephi_evaluate.answer import Answer, Seconds
from edgephi_evaluate.engines.engine import AnswerRules, Engine
from edgephi_evaluate.engines.worker_engine import WorkerEngine
from edgephi_evaluate.item import Item, Media
from edgephi_evaluate.metrics.metric import Metric, Score
from edgephi_evaluate.runs.folder import ShardFile
from edgephi_evaluate.runs.record import ItemRecord
from edgephi_evaluate.suite import Suite

#: So many failures from the first item on are the engine's fault and not the items'.
_MOST_FIRST_FAILURES = 20
_NOTHING = Answer(text="", marked_text="", seconds=Seconds(total=0.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What is to be asked.

    Attributes:
        suite: Whose prompts and metric are used.
        items: In the order in which they are asked; those with an answer are left out.
        shard: Where answers are kept.
    """

    suite: Suite
    items: Sequence[Item]
    shard: ShardFile


def ask_all(engine: Engine | WorkerEngine, work: Work, on_step: OnStep) -> None:
    """Ask everything that has no answer. An item that fails is kept with its error.

    Raises:
        EdgeError: The first 20 items failed, one after the other: the engine answers nothing. Or the workers cannot
            be started.
        ConfigError: A package that the metric needs is missing.
    """
    suite = work.suite
    rules = AnswerRules(max_new_tokens=suite.max_new_tokens, adapter=suite.adapter, keeps_cache=suite.keeps_cache)
    left = [item for item in work.items if item.id not in work.shard.done]
    had, failed = len(work.items) - len(left), 0
    with closing(_records(engine, suite.metric, left, rules)) as records:
        for number, record in enumerate(records, start=1):
            failed += record.error is not None
            work.shard.append(record)
            if failed == number == _MOST_FIRST_FAILURES:
                raise EdgeError(f"{suite.name}: the first {failed} items all failed, the last with: {record.error}")
            on_step(_step(suite.name, had + number, len(work.items), failed))


def _records(
    engine: Engine | WorkerEngine, metric: Metric, items: Sequence[Item], rules: AnswerRules
) -> Generator[ItemRecord, None, None]:
    """Those of items in their order, or as workers are done with them; nothing is started where there are none."""
    if not isinstance(engine, WorkerEngine):
        meter = EnergyMeter()
        yield from (ask(engine, metric, item, rules, meter) for item in items)
    elif items:
        by_id = {item.id: item for item in items}
        with closing(engine.answers(items, rules)) as outcomes:
            for one in outcomes:
                item = by_id[one.id]
                yield _failed(item, metric, one.error) if one.answer is None else _judged(item, metric, one.answer)


def _step(name: str, done: int, total: int, failed: int) -> Step:
    words = f"{done:,} of {total:,} items" + (f", {failed:,} failed" if failed else "")

    def facts(elapsed_s: float) -> str:
        return f"{name}: {words}, {elapsed_s:,.0f} s"

    return Step(label=name, done=done, total=total, facts=facts)


def ask(engine: Engine, metric: Metric, item: Item, rules: AnswerRules, meter: EnergyMeter) -> ItemRecord:
    """Ask one item and judge the reply.

    Raises:
        ConfigError: A package that the metric needs is missing.
    """
    energy: float | None = None
    try:
        meter.start()
        try:
            answer = engine.answer(item, rules)
        finally:
            energy = meter.stop()
    except (EdgeError, OSError) as error:
        return _failed(item, metric, str(error) or type(error).__name__)
    return _judged(item, metric, answer, energy)


def _judged(item: Item, metric: Metric, answer: Answer, energy: float | None = None) -> ItemRecord:
    score = metric.score(item, answer)
    return dataclasses.replace(
        _unanswered(item),
        reply=answer.text,
        marked_reply=answer.marked_text if answer.marked_text != answer.text else None,
        token_ids=answer.token_ids,
        new_tokens=answer.new_tokens,
        finish_reason=answer.finish_reason,
        reference=score.reference,
        normalized=score.reply,
        counts=score.counts,
        audio_s=audio_seconds(item.audio),
        seconds=answer.seconds,
        peak_rss_bytes=answer.peak_rss_bytes,
        energy_j=energy,
    )


def _failed(item: Item, metric: Metric, error: str) -> ItemRecord:
    """Counted as wrong: every word deleted, or no mark."""
    score = metric.score(item, _NOTHING)
    words = " ".join(error.split())
    return dataclasses.replace(
        _unanswered(item), error=words, reference=score.reference, counts=_no_mark(metric, score)
    )


def _no_mark(metric: Metric, score: Score) -> tuple[float, ...]:
    """No reply may be right where nothing was to be said, such as a call; a failure never is."""
    is_share = not metric.is_error and metric.size == 2
    return (0.0, *score.counts[1:]) if is_share else score.counts


def _unanswered(item: Item) -> ItemRecord:
    return ItemRecord(
        id=item.id,
        group=item.group,
        part=item.part,
        prompt=item.turns[-1].text,
        media=tuple(one.name for one in item.media),
        reply="",
        finish_reason="error",
        answers=item.answers,
        counts=(),
    )


def audio_seconds(recordings: Sequence[Media]) -> float | None:
    """Length of all of them; None without any, or where one's header does not say."""
    total = 0.0
    for recording in recordings:
        source = recording.read()
        try:
            total += soundfile.info(io.BytesIO(source) if isinstance(source, bytes) else str(Path(source))).duration
        except (OSError, RuntimeError):
            return None
    return total if recordings else None
