"""Where the workers are and how many: decided when the items that are still to do are known."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

from edgephi.base.hardware import memory, num_physical_cores
from edgephi_batch.engines.processes import run_in_processes
from edgephi_batch.engines.ray_data import RayActors, cluster_rooms, ray_session, run_on_ray
from edgephi_batch.row import Row
from edgephi_batch.work.work import T, Work
from edgephi_batch.workforce import Room, Workforce, workforce


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """What is asked of the workers.

    Attributes:
        on_ray: Actors of Ray instead of processes.
        address: Of a cluster of Ray; None for this machine.
        actors: Workers; None for as many as cores and memory allow.
        threads: Of each; None divides the cores among them.
        ignore_memory: Start them whether there is memory or not.
        item_s: Most seconds for one item.
    """

    on_ray: bool
    address: str | None = None
    actors: int | None = None
    threads: int | None = None
    ignore_memory: bool = False
    item_s: float = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerPlan:
    """The workers of one run.

    Attributes:
        options: What is asked of them.
        worker_bytes: Memory that each may take.
    """

    options: WorkerOptions
    worker_bytes: int

    def rows(
        self, make_work: Callable[[int], Work[T]], items: Sequence[T], on_start: Callable[[Workforce], None]
    ) -> Generator[Row, None, None]:
        """Do the items; closing the generator ends the workers.

        Args:
            make_work: The work of a worker with so many threads.
            items: In the order in which they are begun.
            on_start: Called with the workers before they start.

        Yields:
            One row for each item, rarely two.

        Raises:
            CapacityError: There is no memory for the workers.
            EdgeError: Ray or the workers cannot be started, or a worker cannot open the work.
        """
        options = self.options
        if options.address is None:
            yield from self._here(make_work, items, on_start)
            return
        with ray_session(options.address, 0):
            chosen = self._workforce(cluster_rooms(), items)
            on_start(chosen)
            asked = 0 if options.ignore_memory else chosen.worker_bytes
            actors = RayActors(count=chosen.workers, threads=chosen.threads, memory_bytes=asked)
            yield from run_on_ray(make_work(chosen.threads), items, actors, item_s=options.item_s)

    def _here(
        self, make_work: Callable[[int], Work[T]], items: Sequence[T], on_start: Callable[[Workforce], None]
    ) -> Generator[Row, None, None]:
        """On this machine, whose memory is looked at as for every command: Ray counts it in another way."""
        chosen = self._workforce([Room(cores=num_physical_cores(), memory_bytes=memory().available_bytes)], items)
        on_start(chosen)
        work = make_work(chosen.threads)
        if not self.options.on_ray:
            yield from run_in_processes(work, items, workers=chosen.workers, item_s=self.options.item_s)
            return
        with ray_session(None, chosen.workers * chosen.threads):
            actors = RayActors(count=chosen.workers, threads=chosen.threads, memory_bytes=0)
            yield from run_on_ray(work, items, actors, item_s=self.options.item_s)

    def _workforce(self, rooms: list[Room], items: Sequence[T]) -> Workforce:
        options = self.options
        needed = 1 if options.ignore_memory else self.worker_bytes
        return workforce(rooms, needed, actors=options.actors, threads=options.threads, num_items=len(items))
