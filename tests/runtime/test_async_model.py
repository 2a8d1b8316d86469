"""An asyncio program is never held up, gets what other programs get, and a cancelled task ends its request."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import Iterator
from contextlib import aclosing
from typing import Any

import numpy as np
import pytest

from edgephi import AsyncModel, CapacityError, ConfigError, DoneEvent, Model, Reply, SamplingOptions, TokenEvent
from support.bundles import small_bundle
from support.vocabulary import SPECIAL_TOKENS, special_id

FEW = SamplingOptions(max_new_tokens=6, temperature=0.0)
NO_END = {special_id(name): -100 for name in SPECIAL_TOKENS}
MANY = SamplingOptions(max_new_tokens=2000, temperature=5.0, seed=0, logit_bias=NO_END)
LIMIT_S = 60


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    with Model.load(small_bundle(), threads=1) as loaded:
        yield loaded


def _run(work: Any) -> Any:
    return asyncio.run(asyncio.wait_for(work, LIMIT_S))


def _is_free(model: Model) -> bool:
    return not model._queue._queue


def test_the_arguments_are_those_of_a_model():
    for name in ("load", "stream", "generate"):
        own, models = (inspect.signature(getattr(kind, name)).parameters for kind in (AsyncModel, Model))
        assert list(own.values()) == list(models.values())


def test_answers_and_events_are_those_of_the_model(model: Model):
    async def ask() -> tuple[Any, list[Any]]:
        waiting = AsyncModel(model)
        return await waiting.generate("hello", options=FEW), [e async for e in waiting.stream("hello", options=FEW)]

    reply, events = _run(ask())
    expected = list(model.stream("hello", options=FEW))
    assert reply.token_ids == expected[-1].reply.token_ids  # type: ignore[union-attr]
    assert events[:-1] == expected[:-1]
    assert isinstance(events[-1], DoneEvent)


def test_many_tasks_are_answered_one_after_the_other(model: Model):
    async def ask() -> list[Any]:
        waiting = AsyncModel(model)
        return await asyncio.gather(*(waiting.generate(f"question {n}", options=FEW) for n in range(6)))

    replies = _run(ask())
    assert [reply.token_ids for reply in replies] == [
        model.generate(f"question {n}", options=FEW).token_ids for n in range(6)
    ]


def test_the_loop_goes_on_while_a_request_runs(model: Model):
    async def ask() -> tuple[int, float]:
        beats, slowest, before = 0, 0.0, time.monotonic()
        task = asyncio.ensure_future(AsyncModel(model).generate("hello " * 200, options=MANY))
        while beats < 20 and not task.done():
            await asyncio.sleep(0.002)
            now = time.monotonic()
            beats, slowest, before = beats + 1, max(slowest, now - before), now
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return beats, slowest

    beats, _ = _run(ask())
    assert beats == 20
    assert _is_free(model)


@pytest.mark.parametrize("steps", [0, 1, 10])
def test_a_cancelled_task_ends_its_request_within_a_step(model: Model, steps: int):
    seen: list[int] = []

    async def read() -> None:
        async for event in AsyncModel(model).stream("hello", options=MANY):
            seen.extend([event.index] if isinstance(event, TokenEvent) else [])

    async def cancel() -> None:
        task = asyncio.ensure_future(read())
        while len(seen) < steps:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    _run(cancel())
    assert _is_free(model)
    assert len(seen) < 1500
    assert model.generate("hello", options=FEW).token_ids


def test_a_cancelled_task_in_the_queue_never_begins(model: Model):
    async def ask() -> None:
        waiting = AsyncModel(model)
        first = waiting.stream("hello", options=MANY)
        await anext(first)
        second = asyncio.ensure_future(waiting.generate("more", options=MANY))
        while len(model._queue._queue) < 2:
            await asyncio.sleep(0.001)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        assert len(model._queue._queue) <= 1
        await first.aclose()

    _run(ask())
    assert _is_free(model)


def test_a_stream_left_early_gives_its_turn_back(model: Model):
    async def ask() -> None:
        async with aclosing(AsyncModel(model).stream("hello", options=MANY)) as events:
            async for event in events:
                assert isinstance(event, TokenEvent)
                break
        assert _is_free(model)

    _run(ask())


def test_errors_are_raised_where_the_reply_is_awaited(model: Model):
    async def ask() -> None:
        waiting = AsyncModel(model)
        with pytest.raises(ConfigError, match="not an image"):
            await waiting.generate("hello", images=[b"no image"])
        with pytest.raises(ConfigError, match="tool_choice"):
            await waiting.generate("hello", tool_choice="required")
        with pytest.raises(ZeroDivisionError):
            await waiting.generate("hello", should_stop=lambda: bool(1 // 0))
        assert (await waiting.generate("hello", options=FEW)).token_ids

    _run(ask())


def test_a_full_queue_is_refused():
    async def ask() -> tuple[BaseException | None, Reply]:
        async with await AsyncModel.load(small_bundle(), threads=1, max_queue=1) as waiting:
            async with aclosing(waiting.stream("hello", options=MANY)) as running:
                await anext(running)
                asked = [asyncio.ensure_future(waiting.generate("more", options=FEW)) for _ in range(2)]
                refused, queued = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
            return refused.pop().exception(), await queued.pop()

    refusal, reply = _run(ask())
    assert isinstance(refusal, CapacityError)
    assert reply.token_ids


def test_a_closed_model_says_so():
    async def ask() -> None:
        async with await AsyncModel.load(small_bundle(), threads=1) as waiting:
            pass
        with pytest.raises(ConfigError, match="is closed"):
            await waiting.generate("x")

    _run(ask())


def test_a_load_that_is_cancelled_leaves_no_model_behind(monkeypatch: pytest.MonkeyPatch):
    closed, may_go_on = threading.Event(), threading.Event()
    close, load = Model.close, Model.load

    def slow(*arguments: Any, **options: Any) -> Model:
        assert may_go_on.wait(LIMIT_S)
        return load(*arguments, **options)

    monkeypatch.setattr(Model, "load", slow)
    monkeypatch.setattr(Model, "close", lambda self: (close(self), closed.set()))

    async def ask() -> None:
        task = asyncio.ensure_future(AsyncModel.load(small_bundle(), threads=1))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        may_go_on.set()
        while not closed.is_set():
            await asyncio.sleep(0.01)

    _run(ask())


def test_a_recording_is_written_down_and_a_cancelled_task_ends_it(model: Model, monkeypatch: pytest.MonkeyPatch):
    begun, ended = threading.Event(), threading.Event()

    def slow(self: Model, source: object, *, language: str, should_stop: Any) -> str:
        begun.set()
        while source == "long" and not should_stop():
            time.sleep(0.005)
        ended.set()
        return f"{source} in {language}"

    monkeypatch.setattr(Model, "transcribe", slow)

    async def ask() -> None:
        waiting = AsyncModel(model)
        assert await waiting.transcribe("short", language="en") == "short in en"
        begun.clear(), ended.clear()
        task = asyncio.ensure_future(waiting.transcribe("long", language="en"))
        while not begun.is_set():
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended.is_set()

    _run(ask())


def test_a_request_is_prepared_while_the_loop_goes_on(model: Model):
    async def ask() -> tuple[Any, Any]:
        waiting = AsyncModel(model)
        ready = await waiting.prepare("hello", options=FEW)
        return ready, await waiting.generate(ready, options=FEW)

    ready, reply = _run(ask())
    assert reply.timing.prompt_tokens == ready.cost.prompt_tokens
    assert reply.token_ids == model.generate("hello", options=FEW).token_ids


def test_a_task_that_is_cancelled_ends_its_preparation(model: Model):
    begun, ended = threading.Event(), threading.Event()

    def stopped() -> bool:
        begun.set()
        return False

    async def ask() -> None:
        images = [np.zeros((40, 40, 3), np.uint8)] * 500
        task = asyncio.ensure_future(AsyncModel(model).prepare("hello", images=images, should_stop=stopped))
        assert await asyncio.to_thread(begun.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        ended.set()

    _run(ask())
    assert ended.is_set()
