"""Makes one mistake after another in copies of a tree, several at once, and judges what the tests say."""

from __future__ import annotations

import queue
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from mutations.listing import ListError, Mutation
from mutations.working_copy import CopyError, TestRun, WorkingCopy

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
Verdict = Literal["caught", "survived", "error"]
#: A mistake may make a test endless: it has so many times as long as without, and this on top.
_PATIENCE, _PATIENCE_S = 5, 60
_FAILED, _PASSED = 1, 0
_LONGEST_S = 900


class FailingTestsError(Exception):
    """Tests fail without any mistake, so that failing says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one mutation.

    Attributes:
        mutation: Which.
        verdict: `caught` by a test, `survived`, or `error` where that could not be tried.
        by: The test that failed, or why there is none.
        seconds: That its tests took.
    """

    mutation: Mutation
    verdict: Verdict
    by: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Progress:
    """Reports what is done, with the time left at the pace so far."""

    on_line: Callable[[str], None]

    def step(self, done: int, total: int, began_s: float, text: str) -> None:
        """One more is done."""
        left_s = (time.monotonic() - began_s) / done * (total - done)
        self.on_line(f"[{done}/{total}] {text}; about {left_s / 60:.1f} min left")


def run(tree: Path, mutations: Sequence[Mutation], jobs: int, on_line: Callable[[str], None]) -> list[Outcome]:
    """Try every mutation; the tests are run without any first.

    Args:
        tree: The source, under git.
        mutations: At least one.
        jobs: Copies in which tests run at once.
        on_line: Called with a line of progress.

    Raises:
        CopyError: No copy can be made.
        FailingTestsError: A named test fails without a mutation, or is none.
    """
    with tempfile.TemporaryDirectory(prefix="edgephi-mutations-") as folder, ThreadPoolExecutor(jobs) as pool:
        copies = [WorkingCopy(tree, Path(folder) / str(number)) for number in range(jobs)]
        try:
            return _run(_Bench(copies, pool, Progress(on_line)), mutations)
        except BaseException:  # Ctrl-C too
            pool.shutdown(wait=False, cancel_futures=True)
            for copy in copies:
                copy.end()
            raise


class _Bench:
    """Copies, each used by one thread at a time."""

    def __init__(self, copies: Sequence[WorkingCopy], pool: ThreadPoolExecutor, progress: Progress) -> None:
        self._free: queue.SimpleQueue[WorkingCopy] = queue.SimpleQueue()
        for copy in copies:
            self._free.put(copy)
        self._pool = pool
        self.progress = progress

    def each(
        self, items: Sequence[_Item], work: Callable[[WorkingCopy, _Item], _Result], text: Callable[[_Result], str]
    ) -> list[_Result]:
        """The results of all items in their order."""
        began_s = time.monotonic()
        futures: list[Future[_Result]] = [self._pool.submit(self._on_a_copy, work, item) for item in items]
        for done, future in enumerate(as_completed(futures), 1):
            self.progress.step(done, len(items), began_s, text(future.result()))
        return [future.result() for future in futures]

    def _on_a_copy(self, work: Callable[[WorkingCopy, _Item], _Result], item: _Item) -> _Result:
        copy = self._free.get()
        try:
            return work(copy, item)
        finally:
            self._free.put(copy)


def _run(bench: _Bench, mutations: Sequence[Mutation]) -> list[Outcome]:
    tests = sorted({test for mutation in mutations for test in mutation.tests})
    runs = bench.each(tests, _unchanged, lambda pair: f"{pair[0]} without a mutation")
    if failing := [f"{test}: {_reason(found)}" for test, found in runs if found.code != _PASSED]:
        raise FailingTestsError("\n".join(["these fail without any mutation:", *failing]))
    seconds = {test: found.seconds for test, found in runs}

    def attempt(copy: WorkingCopy, mutation: Mutation) -> Outcome:
        return _outcome(copy, mutation, _PATIENCE * sum(seconds[test] for test in mutation.tests) + _PATIENCE_S)

    return bench.each(mutations, attempt, lambda outcome: f"{outcome.verdict}: {outcome.mutation.name}")


def _unchanged(copy: WorkingCopy, test: str) -> tuple[str, TestRun]:
    """A test without a mutation, tried again where it fails: one that waits may fail on a busy machine."""
    found = copy.test((test,), _LONGEST_S)
    return test, found if found.code == _PASSED else copy.test((test,), _LONGEST_S)


def _outcome(copy: WorkingCopy, mutation: Mutation, timeout_s: float) -> Outcome:
    try:
        with copy.with_mistake(mutation):
            found = copy.test(mutation.tests, timeout_s)
    except ListError as error:
        return Outcome(mutation=mutation, verdict="error", by=str(error), seconds=0.0)
    verdict: Verdict = "error"
    if found.code in (None, _FAILED):
        verdict = "caught"
    elif found.code == _PASSED:
        verdict = "survived"
    by = "" if verdict == "survived" else _reason(found)
    return Outcome(mutation=mutation, verdict=verdict, by=by, seconds=found.seconds)


def _reason(found: TestRun) -> str:
    if found.code is None:
        return f"not ended after {found.seconds:.0f} s"
    if found.code == _FAILED and found.failed:
        return found.failed
    last = (found.output.strip().splitlines() or ["nothing written"])[-1]
    return f"pytest ended with {found.code}: {last}"


__all__ = ["CopyError", "FailingTestsError", "Outcome", "run"]
