"""How the events of a stream become writes: none waits for one that is not there, and many share a write."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from threading import Event as Flag
from typing import Any
from unittest.mock import Mock

from edgephi import Stage
from edgephi_serve.connections.exchange import Exchange
from edgephi_serve.endpoints.delivery import Delivery
from edgephi_serve.settings import Times
from edgephi_serve.turns.jobs import Admission, Job, JobLimits
from edgephi_serve.turns.pace import Pace
from edgephi_serve.turns.queue import TurnQueue


def _bodies(
    work: Callable[[Job[bytes]], None], taken: Callable[[bytes], None] = lambda body: None, slow_s: float = 0
) -> list[bytes]:
    """The writes for what a job emits; `taken` sees each of them as it is made. An event is encoded in `slow_s`."""
    bodies: list[bytes] = []

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.body":
            bodies.append(message["body"])
            taken(message["body"])

    async def deliver() -> None:
        scope: dict[str, Any] = {"headers": []}
        Exchange(id="req_1").put(scope)
        admission = Admission(turns=TurnQueue(10), preparing=Mock(), pace=Pace())
        job: Job[bytes] = Job(Mock(), admission, JobLimits(queue_s=10, turn_s=10))
        delivery = Delivery(scope, send, job, Times())
        job.is_accepted = True
        job.start(work)
        async for item in delivery.events():
            await delivery.begin("text/event-stream")
            time.sleep(slow_s)
            delivery.add(item)
        await delivery.end()

    asyncio.run(deliver())
    return bodies


def test_fast_events_share_writes_and_none_is_lost():
    """A write costs as much as a token of a small model."""
    pieces = [b"%d " % number for number in range(300)]

    def work(job: Job[bytes]) -> None:
        for piece in pieces:
            job.emit(piece)

    bodies = _bodies(work)
    assert b"".join(bodies) == b"".join(pieces)
    assert len(bodies) < len(pieces) / 3


def test_an_event_is_sent_before_the_next_one_is_there():
    """Otherwise a reader would see each word only with the one after it."""
    was_sent = Flag()

    def work(job: Job[bytes]) -> None:
        job.emit(b"first")
        job.on_stage(Stage("prefill", 1, 2))  # as for a second reply: the stage must not hold the event back
        assert was_sent.wait(5), "the first event waited for the second"
        job.emit(b"second")

    bodies = _bodies(work, lambda body: was_sent.set() if b"first" in body else None)
    assert [body for body in bodies if b"second" in body]


def test_events_that_never_pause_are_sent_too():
    """Where a reply is made faster than its events are encoded, a client would see nothing of it until its end."""

    def work(job: Job[bytes]) -> None:
        for _ in range(3000):
            job.emit(b"x")

    bodies = _bodies(work, slow_s=2e-4)
    assert b"".join(bodies) == b"x" * 3000
    assert len(bodies) > 4
