"""Workers as actors of Ray Data, on this machine or on a cluster: blocks of a few items, so that a loss costs little.

The driver alone writes rows, so no storage is needed that all nodes see. Ray starts an actor that ends again and does
its block once more; the ledger keeps an item that ends every worker from doing so for ever.
"""

from __future__ import annotations

import logging
import math
import os
import pickle
import re
import signal
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from socket import gethostname
from typing import TYPE_CHECKING, Any, Generic

from edgephi.base.errors import EdgeError
from edgephi_batch.row import Row
from edgephi_batch.work.item_runner import GRACE_S, MOST_ATTEMPTS, ItemRunner, ended_worker
from edgephi_batch.work.work import T, Work
from edgephi_batch.workforce import Room

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Blocks for each actor, at least: the last ones then end at about the same time.
_BLOCKS_EACH = 10
_MOST_BLOCK_ITEMS = 16
#: Actors that end one after another before any is ready.
_MOST_FAILED_STARTS = 3
#: Only references and rows go through it.
_OBJECT_STORE_BYTES = 200 << 20
#: Ray reports usage to its makers by default; the others keep remarks off stderr: on actors without a GPU, and on
#: constructor arguments that it could lose, which Ray Data holds.
_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
}
#: The name of an exception's class before its message.
_CLASS = re.compile(r"[\w.]+(?:Error|Exception): ")


@dataclass(frozen=True, slots=True, kw_only=True)
class RayActors:
    """The actors of a run.

    Attributes:
        count: On all nodes together.
        threads: Of each, asked of the scheduler as CPUs.
        memory_bytes: Of each, asked of the scheduler; 0 on this machine alone, where it was looked at already.
    """

    count: int
    threads: int
    memory_bytes: int


@contextmanager
def ray_session(address: str | None, cpus: int) -> Iterator[None]:
    """Connect to a cluster, or start Ray on this machine, for the block, in which nothing can be printed to stdout.

    A thread of Ray prints there how each actor ended.

    Args:
        address: Of the cluster, `auto` for the one this machine is a node of; None for this machine alone.
        cpus: The most CPUs that actors will ask for on this machine alone.

    Raises:
        EdgeError: Ray is not installed, or the cluster cannot be reached.
    """
    ray = _ray()
    before = signal.getsignal(signal.SIGTERM)
    try:
        _connect(address, cpus)
    except Exception as error:  # a node that does not start in time raises no other
        advice = "--engine processes does without it" if address is None else "check --address"
        raise EdgeError(f"Ray at {address or 'this machine'}: {_line(error)}; {advice}") from None
    finally:
        with suppress(ValueError):  # not the main thread: Ray has not set it either
            signal.signal(signal.SIGTERM, before)
    with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
        try:
            yield
        finally:
            ray.shutdown()


def _connect(address: str | None, cpus: int) -> None:
    os.environ.update({name: os.environ.get(name, value) for name, value in _SETTINGS.items()})
    # One more than the actors take: whatever else is scheduled would wait for ever.
    own = {"num_cpus": cpus + 1, "object_store_memory": _OBJECT_STORE_BYTES, "include_dashboard": False}
    # Without an address Ray would join whatever cluster this machine was last a node of.
    _ray().init(
        address=address or "local", log_to_driver=False, logging_level=logging.ERROR, **({} if address else own)
    )


def cluster_rooms() -> list[Room]:
    """The nodes of the cluster that is connected, by what Ray schedules on them."""
    resources = [node["Resources"] for node in _ray().nodes() if node["Alive"]]
    return [
        Room(cores=int(one.get("CPU", 0)), memory_bytes=int(one.get("memory", 0)))
        for one in resources
        if one.get("CPU")
    ]


def run_on_ray(work: Work[T], items: Sequence[T], actors: RayActors, *, item_s: float) -> Generator[Row, None, None]:
    """Do the items inside a `ray_session`; closing the generator ends the actors.

    Args:
        work: Sent to each actor.
        items: Rows come in the order in which their blocks are done.
        actors: How many, and what each takes.
        item_s: Most seconds for each item.

    Yields:
        One row for each item; rarely two, where a node was lost after its block was done.

    Raises:
        EdgeError: An actor cannot open the work, or Ray gives the run up.
    """
    ray = _ray()
    _set_up(item_s)
    rows = _dataset(work, items, actors, item_s)
    try:
        for batch in rows.iter_batches(batch_size=None, batch_format="numpy", prefetch_batches=0):
            for id_, is_failed, line in zip(batch["id"], batch["is_failed"], batch["line"], strict=True):
                yield Row(id=str(id_), is_failed=bool(is_failed), line=str(line))
    except ray.exceptions.RayError as error:
        raise EdgeError(f"Ray gave the run up: {_line(error)}") from None


def _dataset(work: Work[T], items: Sequence[T], actors: RayActors, item_s: float) -> Any:
    """What gives the rows while it is iterated, in batches of columns."""
    ray = _ray()
    block = min(_MOST_BLOCK_ITEMS, max(1, len(items) // (_BLOCKS_EACH * actors.count)))
    pickled = [{"item": pickle.dumps(item)} for item in items]
    ledger = ray.remote(_Ledger).options(num_cpus=0).remote()
    asked = {"memory": actors.memory_bytes} if actors.memory_bytes else {}
    return ray.data.from_items(pickled, override_num_blocks=math.ceil(len(items) / block)).map_batches(
        _Actor,
        fn_constructor_kwargs={"work": pickle.dumps(work), "item_s": item_s, "ledger": ledger},
        batch_size=block,
        num_cpus=actors.threads,
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=actors.count, initial_size=actors.count),
        **asked,
    )


class _Ledger:
    """An actor that counts how often each item was begun without an end: what ends its worker cannot report it."""

    def __init__(self) -> None:
        self._begun: Counter[str] = Counter()

    def begin(self, item_id: str) -> bool:
        """Whether it may be tried."""
        self._begun[item_id] += 1
        return self._begun[item_id] <= MOST_ATTEMPTS

    def end(self, item_id: str) -> None:
        """It has a row: another attempt, after its block was lost, counts anew."""
        del self._begun[item_id]


class _Actor(Generic[T]):
    """The callable class of Ray Data: one model, made once."""

    def __init__(self, work: bytes, item_s: float, ledger: Any) -> None:
        self._work: Work[T] = pickle.loads(work)
        self._item_s, self._ledger = item_s, ledger
        try:
            self._runner = ItemRunner(self._work, item_s)
        except EdgeError as error:
            raise EdgeError(f"on node {gethostname()}: {error}") from None

    def __call__(self, batch: dict[str, NDArray[np.object_]]) -> dict[str, list[Any]]:
        rows = [self._row(pickle.loads(item)) for item in batch["item"]]
        return {
            "id": [row.id for row in rows],
            "is_failed": [row.is_failed for row in rows],
            "line": [row.line for row in rows],
        }

    def _row(self, item: T) -> Row:
        if not _ray().get(self._ledger.begin.remote(item.id)):
            return self._work.failed(item, ended_worker(self._item_s), 0.0)
        row = self._runner.run(item)
        self._ledger.end.remote(item.id)
        return row


def _set_up(item_s: float) -> None:
    """What goes wrong is raised; Ray's own bars and logs would go through the command's lines."""
    context = _ray().data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.max_consecutive_actor_init_deaths = _MOST_FAILED_STARTS
    # By default a block without a row for half an hour ends the run: a few recordings of hours would do so.
    context.execution_no_progress_timeout_s = _MOST_BLOCK_ITEMS * MOST_ATTEMPTS * (item_s + GRACE_S)
    logging.getLogger("ray").setLevel(logging.ERROR)
    logging.getLogger("ray.data").setLevel(logging.ERROR)


def _line(error: BaseException) -> str:
    """The cause of an error of Ray, whose own text is a traceback of many lines."""
    lines = [line.strip() for line in str(getattr(error, "cause", None) or error).splitlines() if line.strip()]
    return _CLASS.sub("", lines[-1], count=1) if lines else type(error).__name__


def _ray() -> Any:
    try:
        import ray  # noqa: PLC0415 - the extra `batch` is optional
        import ray.data  # noqa: PLC0415
    except ImportError:
        raise EdgeError(
            '--engine ray needs Ray; run: pip install "edgephi[batch]", or use --engine processes'
        ) from None
    return ray
