"""Workers as processes of this machine: an item at a time each; one that ends is replaced, its item tried once more."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter, deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Generic

from edgephi.base.errors import EdgeError
from edgephi_batch.row import Row
from edgephi_batch.work.item_runner import MOST_ATTEMPTS, ended_worker
from edgephi_batch.work.work import T, Work

#: Workers that end one after another before any is ready.
_MOST_FAILED_STARTS = 3


def run_in_processes(work: Work[T], items: Sequence[T], *, workers: int, item_s: float) -> Generator[Row, None, None]:
    """Do the items, as many at once as there are workers. Closing the generator ends the workers.

    Args:
        work: Sent to each worker.
        items: Rows come in the order in which they are done.
        workers: Processes.
        item_s: Most seconds for each item.

    Yields:
        One row for each item.

    Raises:
        EdgeError: A worker cannot open the work, or workers end before they are ready.
    """
    pool = _Pool(work=work, item_s=item_s, pending=deque(items))
    try:
        for _ in range(min(workers, len(items))):
            pool.start()
        while pool.workers:
            yield from pool.step()
    finally:
        for worker in pool.workers:
            worker.end()


@dataclass(slots=True, kw_only=True)
class _Worker(Generic[T]):
    """A process, its end of the connection, and what it is at; not ready until it has opened the work."""

    process: subprocess.Popen[bytes]
    connection: Connection
    is_ready: bool = False
    item: T | None = None

    def send(self, item: T) -> None:
        """Give it the next item; that it has ended is found when it should answer."""
        self.item = item
        with suppress(ConnectionError):
            self.connection.send(item)

    def end(self) -> None:
        """End the process at once: it holds nothing that is not written elsewhere."""
        self.process.kill()
        self.process.wait()
        self.connection.close()


@dataclass(slots=True, kw_only=True)
class _Pool(Generic[T]):
    """The workers that run, and the items that none has."""

    work: Work[T]
    item_s: float
    pending: deque[T]
    workers: list[_Worker[T]] = field(default_factory=list)
    attempts: Counter[str] = field(default_factory=Counter)
    failed_starts: int = 0

    def start(self) -> None:
        """One more worker. It has a session of its own, so that Ctrl-C ends it only through this process."""
        ours, theirs = Pipe()
        command = [sys.executable, "-P", "-m", "edgephi_batch.engines.worker", str(theirs.fileno())]
        with theirs:
            process = subprocess.Popen(
                command,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
        worker = _Worker[T](process=process, connection=ours)
        self.workers.append(worker)
        with suppress(ConnectionError):
            ours.send((self.work, self.item_s))

    def step(self) -> Iterator[Row]:
        """Wait for a worker, take what it has and give it the next item.

        Raises:
            EdgeError: As `run_in_processes`.
        """
        by_connection = {worker.connection: worker for worker in self.workers}
        for connection in wait(list(by_connection)):
            worker = by_connection[connection]  # type: ignore[index]
            try:
                message = worker.connection.recv()
            except (EOFError, ConnectionError):
                yield from self._replace(worker)
                continue
            if isinstance(message, EdgeError):
                raise message
            if isinstance(message, Row):
                worker.item = None
                yield message
            worker.is_ready, self.failed_starts = True, 0
            self._next(worker)

    def _next(self, worker: _Worker[T]) -> None:
        if self.pending:
            worker.send(self.pending.popleft())
        else:
            self.workers.remove(worker)
            worker.end()

    def _replace(self, worker: _Worker[T]) -> Iterator[Row]:
        """A worker has ended: another takes its place, and the item its turn again unless it has had it twice."""
        self.workers.remove(worker)
        worker.end()
        if not worker.is_ready:
            self.failed_starts += 1
            if self.failed_starts >= _MOST_FAILED_STARTS:
                raise EdgeError(
                    f"{self.failed_starts} workers ended before they were ready (exit code "
                    f"{worker.process.returncode}); use fewer --actors, or see what `edgephi doctor` says of the folder"
                )
        if (item := worker.item) is not None:
            self.attempts[item.id] += 1
            if self.attempts[item.id] < MOST_ATTEMPTS:
                self.pending.appendleft(item)
            else:
                yield self.work.failed(item, ended_worker(self.item_s), 0.0)
        if self.pending:
            self.start()
