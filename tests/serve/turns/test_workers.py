"""Threads of requests: one is kept, for a new one costs more than a short request; no more, so that none pile up."""

from __future__ import annotations

import threading
import time
from functools import partial

from edgephi_serve.turns.workers import Workers
from support.waiting import until

NAMES = ("edgephi-request", "edgephi-spare")


def _threads() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name in NAMES]


def test_the_next_work_runs_in_the_thread_of_the_last_one():
    workers, before, used = Workers(), set(_threads()), []
    for number in range(3):
        workers.run(lambda: used.append(threading.get_ident()))
        until(lambda number=number: len(used) == number + 1)
        until(lambda: [one.name for one in set(_threads()) - before] == ["edgephi-spare"])
    assert len(set(used)) == 1


def test_works_run_at_once_and_one_thread_is_left():
    workers, before, gate = Workers(), set(_threads()), threading.Event()
    running: list[int] = []
    for number in range(5):
        workers.run(lambda number=number: (running.append(number), gate.wait(10)))
    until(lambda: sorted(running) == list(range(5)))
    gate.set()
    until(lambda: len(set(_threads()) - before) == 1)
    time.sleep(0.02)
    assert [one.name for one in set(_threads()) - before] == ["edgephi-spare"]


def test_a_thread_whose_work_was_taken_by_another_is_spare():
    """A thread that ends its work may be faster than the one that was started for the next."""
    for _ in range(300):
        _run_three()


def _run_three() -> None:
    workers, before, ended = Workers(), set(_threads()), list[int]()
    for number in range(3):
        workers.run(partial(ended.append, number))
    until(lambda: len(ended) == 3)
    until(lambda: [one.name for one in set(_threads()) - before] == ["edgephi-spare"], 2)


def test_a_spare_thread_keeps_nothing_of_the_last_work():
    class Held:
        def __call__(self) -> None:
            done.set()

        def __del__(self) -> None:
            freed.set()

    done, freed = threading.Event(), threading.Event()
    Workers().run(Held())
    assert done.wait(10)
    assert freed.wait(10)
