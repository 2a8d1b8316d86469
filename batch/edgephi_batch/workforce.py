"""How many workers a machine has room for, and the threads of each."""

from __future__ import annotations

from dataclasses import dataclass

from edgephi.base.errors import CapacityError
from edgephi.base.units import human_bytes
from edgephi.bundle.bundle import Bundle
from edgephi.bundle.cache_choice import cache_kind
from edgephi.inspection.footprint import memory_estimates
from edgephi.model_options import ModelOptions
from edgephi.prompt.routing import ROUTES

#: Of the available memory, the part that workers may take: recordings are decoded in the rest.
_SHARE = 0.85
#: Positions of a request that workers are given room for, unless --max-context is lower.
_CONTEXT = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """One machine.

    Attributes:
        cores: For the workers' threads.
        memory_bytes: Available to all workers together.
    """

    cores: int
    memory_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Workforce:
    """The workers of a run.

    Attributes:
        workers: On all machines together.
        threads: Of each.
        worker_bytes: Memory that each may take.
    """

    workers: int
    threads: int
    worker_bytes: int

    def __str__(self) -> str:
        """For people."""
        return f"{self.workers} workers of {self.threads} threads, {human_bytes(self.worker_bytes)} each at most"


def worker_bytes(bundle: Bundle, options: ModelOptions, *, has_images: bool, has_audio: bool) -> int:
    """Memory of one worker for requests of up to 4,096 positions, its cache included.

    Raises:
        ArtifactError: `tensors.json` is damaged.
        ConfigError: The folder has no graphs for the KV cache.
    """
    estimates = memory_estimates(bundle, cache_kind(bundle.manifest, options.kv_cache))
    fitting = [
        one
        for one in estimates
        if has_images >= ROUTES[one.mode].has_images and has_audio >= ROUTES[one.mode].has_audio
    ]
    positions = min(bundle.manifest.rope.max_positions, options.max_context or _CONTEXT, _CONTEXT)
    return max(one.memory_bytes(positions) for one in fitting) + options.cache_bytes


def workforce(
    rooms: list[Room], need_bytes: int, *, actors: int | None, threads: int | None, num_items: int
) -> Workforce:
    """As many workers as cores and memory allow, or as were asked for where they fit.

    Args:
        rooms: The machines.
        need_bytes: Memory of one worker.
        actors: Workers that were asked for; None for as many as fit.
        threads: Of each worker; None divides the cores of a machine among its workers.
        num_items: More workers than items are of no use.

    Raises:
        CapacityError: There is no memory for so many, or for any.
    """
    by_memory = [int(room.memory_bytes * _SHARE) // need_bytes for room in rooms]
    if sum(by_memory) < (actors or 1):
        available = human_bytes(max(room.memory_bytes for room in rooms), 2)
        where = "is available" if len(rooms) == 1 else f"at most is available on each of {len(rooms)} nodes"
        advice = f"use --actors {sum(by_memory)}" if sum(by_memory) else "use a smaller recipe, or a larger machine"
        raise CapacityError(
            f"a worker takes {human_bytes(need_bytes, 2)} of memory and {available} {where}, so {actors or 1} do not "
            f"fit; {advice} (--ignore-memory tries all the same)"
        )
    counts = [
        max(1, min(most, room.cores // (threads or 1))) for most, room in zip(by_memory, rooms, strict=True) if most
    ]
    cores = [room.cores for most, room in zip(by_memory, rooms, strict=True) if most]
    total = min(actors or sum(counts), num_items)
    each = max(1, -(-total // len(cores)))
    return Workforce(
        workers=total,
        threads=threads or min(max(1, core // min(count, each)) for core, count in zip(cores, counts, strict=True)),
        worker_bytes=need_bytes,
    )
