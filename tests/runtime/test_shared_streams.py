"""Streams may be iterated from anywhere: every request is served, in order, however few threads there are."""

from __future__ import annotations

import asyncio
import gc
import random
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from edgephi import ConfigError, DoneEvent, Model, SamplingOptions, TextEvent
from edgephi.base.cancellation import Stopped
from edgephi.base.errors import EdgeError
from edgephi.request_queue import RequestQueue
from support.bundles import small_bundle

LIMIT_S = 60
FEW = SamplingOptions(max_new_tokens=6, temperature=0.0)


class Log:
    """Streams of numbers, which note when each begins and ends, and that no two run at once."""

    def __init__(self) -> None:
        self.queue = RequestQueue(100)
        self.begun: list[str] = []
        self.ended: list[str] = []
        self._running = threading.Lock()

    def stream(self, name: str, length: int = 20, step_s: float = 0.0) -> Generator[int, None, None]:
        return self.queue.stream(self._steps(name, length, step_s))

    def _steps(self, name: str, length: int, step_s: float) -> Iterator[int]:  # type: ignore[misc]
        assert len(self.begun) == len(self.ended), "two streams at once"
        self.begun.append(name)
        try:
            for number in range(length):
                assert self._running.acquire(blocking=False), "two threads at once"
                time.sleep(step_s)
                self._running.release()
                yield number
        finally:
            self.ended.append(name)


def _in_threads(*work: Callable[[], object]) -> list[object]:
    results: list[object] = []
    threads = [threading.Thread(target=lambda task=task: results.append(task()), daemon=True) for task in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT_S)
        assert not thread.is_alive(), "it hangs"
    return results


async def _read(stream: Iterator[object], pool: ThreadPoolExecutor, pause_s: Callable[[], float]) -> list[object]:
    """As a server does that hands a plain generator to a pool: each step in whichever thread is free."""
    events, loop = [], asyncio.get_running_loop()
    while (event := await loop.run_in_executor(pool, next, stream, None)) is not None:
        events.append(event)
        await asyncio.sleep(pause_s())
    return events


@pytest.mark.parametrize(("threads", "clients"), [(1, 2), (1, 4), (2, 3), (2, 6), (3, 3), (8, 4)])
def test_a_pool_smaller_than_its_clients_does_not_hang(threads: int, clients: int):
    log, draw = Log(), random.Random(threads * 10 + clients)

    async def serve() -> list[list[object]]:
        streams = [log.stream(str(number), length=15) for number in range(clients)]
        reads = [_read(stream, pool, lambda: draw.choice([0.0, 0.001, 0.005])) for stream in streams]
        return await asyncio.wait_for(asyncio.gather(*reads), LIMIT_S)

    with ThreadPoolExecutor(threads) as pool:
        results = asyncio.run(serve())
    assert results == [list(range(15))] * clients
    assert log.begun == log.ended
    assert not log.queue._queue


def test_a_model_streamed_by_a_pool_smaller_than_its_clients_answers_all():
    with Model.load(small_bundle(), threads=1) as model, ThreadPoolExecutor(2) as pool:
        expected = model.generate("hello", options=FEW)

        async def serve() -> list[list[object]]:
            streams = [model.stream("hello", options=FEW) for _ in range(3)]
            return await asyncio.wait_for(asyncio.gather(*(_read(s, pool, lambda: 0.002) for s in streams)), LIMIT_S)

        for events in asyncio.run(serve()):
            done = events[-1]
            assert isinstance(done, DoneEvent)
            assert (done.reply.token_ids, done.reply.text) == (expected.token_ids, expected.text)
            assert "".join(event.text for event in events if isinstance(event, TextEvent)) == expected.text


def test_one_thread_may_leave_streams_open_and_still_ask():
    log = Log()
    first, second = log.stream("a", 5), log.stream("b", 5)
    assert (next(first), next(first)) == (0, 1)
    assert next(second) == 0
    assert list(log.stream("c", 3)) == [0, 1, 2]
    assert (list(first), list(second)) == ([2, 3, 4], [1, 2, 3, 4])
    assert log.begun == ["a", "b", "c"]


def test_a_stream_closed_while_another_thread_goes_on_with_it_gives_its_turn_back():
    log = Log()
    first = log.stream("a", 10_000, step_s=0.001)
    next(first)

    def close_soon() -> None:
        while not log.queue._queue[0].is_helped:
            time.sleep(0.005)
        first.close()

    _in_threads(lambda: list(log.stream("b", 3)), close_soon)
    assert log.ended == ["a", "b"]
    assert not log.queue._queue


def test_an_abandoned_stream_gives_its_turn_back_at_once():
    log = Log()
    next(log.stream("a"))
    gc.collect()
    assert log.ended == ["a"]
    assert list(log.stream("b", 2)) == [0, 1]


def test_what_ends_a_stream_is_reported_to_its_reader_and_to_nobody_else():
    queue = RequestQueue(10)

    def failing() -> Generator[int, None, None]:
        yield 1
        yield 2
        raise ConfigError("it went wrong")

    stream = queue.stream(failing())
    assert next(stream) == 1
    with queue.enter():  # goes on with the stream until it fails
        pass
    assert next(stream) == 2
    with pytest.raises(ConfigError, match="it went wrong"):
        next(stream)
    assert next(stream, None) is None


def test_an_interruption_while_helping_is_raised_here_and_reported_there():
    queue = RequestQueue(10)

    def interrupted() -> Generator[int, None, None]:
        yield 1
        raise KeyboardInterrupt

    stream = queue.stream(interrupted())
    next(stream)
    with pytest.raises(KeyboardInterrupt), queue.enter():
        pass
    with pytest.raises(EdgeError, match="interrupted"):
        next(stream)
    with queue.enter():
        pass


def test_one_who_waits_for_a_stream_can_give_up():
    log = Log()
    first = log.stream("a", 10**9, step_s=0.001)
    next(first)
    stop = time.monotonic() + 0.3
    with pytest.raises(Stopped), log.queue.enter(lambda: time.monotonic() > stop):
        pass
    assert next(first) == 1
    first.close()
    assert not log.queue._queue


def test_a_step_that_iterates_its_own_stream_is_refused():
    queue = RequestQueue(10)

    def asks() -> Generator[int, None, None]:
        with queue.enter():
            yield 1

    with pytest.raises(ConfigError, match="in the midst of a request"):
        next(queue.stream(asks()))


def test_any_mixture_of_readers_that_close_pause_and_change_threads_is_served():
    for seed in range(6):
        draw, log = random.Random(seed), Log()
        pool_size, clients = draw.randint(1, 3), draw.randint(2, 6)

        async def client(number: int, draw: random.Random, pool: ThreadPoolExecutor, log: Log = log) -> None:
            stream, loop = log.stream(str(number), length=10), asyncio.get_running_loop()
            for expected in range(draw.choice([2, 10, 10])):
                assert await loop.run_in_executor(pool, next, stream, None) == expected
                await asyncio.sleep(draw.choice([0, 0, 0, 0.002, 0.12]))
            await loop.run_in_executor(pool, stream.close)

        async def serve(clients: int = clients, pool_size: int = pool_size, draw: random.Random = draw) -> None:
            with ThreadPoolExecutor(pool_size) as pool:
                everyone = asyncio.gather(*(client(number, draw, pool) for number in range(clients)))
                await asyncio.wait_for(everyone, LIMIT_S)

        asyncio.run(serve())
        assert sorted(log.begun) == sorted(log.ended) == sorted(map(str, range(clients)))
        assert not log.queue._queue
