"""Workers fit: into the cores, into the memory of their machine, and there are no more than items."""

from __future__ import annotations

import pytest

from edgephi.base.errors import CapacityError
from edgephi_batch.workforce import Room, workforce

GB = 10**9


@pytest.mark.parametrize(
    ("rooms", "given", "expected"),
    [
        ([(8, 100)], {}, (8, 1)),  # a thread each
        ([(8, 9)], {}, (3, 2)),  # memory for three: 0.85 * 9 / 2.5
        ([(8, 3)], {}, (1, 8)),
        ([(8, 100)], {"threads": 3}, (2, 3)),
        ([(8, 100)], {"actors": 2}, (2, 4)),
        ([(2, 100)], {"actors": 5}, (5, 1)),  # as asked, though they share cores
        ([(8, 100)], {"num_items": 2}, (2, 4)),
        ([(8, 100), (4, 6), (16, 1)], {}, (10, 1)),  # a node without memory for one has none
        ([(8, 100), (8, 100)], {"actors": 4}, (4, 4)),
    ],
)
def test_workers_share_cores_and_memory(rooms: list[tuple[int, int]], given: dict, expected: tuple[int, int]):
    asked = {"actors": None, "threads": None, "num_items": 1000, **given}
    machines = [Room(cores=cores, memory_bytes=gigabytes * GB) for cores, gigabytes in rooms]
    made = workforce(machines, int(2.5 * GB), **asked)
    assert (made.workers, made.threads) == expected


@pytest.mark.parametrize(
    ("gigabytes", "actors", "advice"),
    [(2, None, "use a smaller recipe"), (9, 4, "so 4 do not fit; use --actors 3")],
)
def test_workers_that_do_not_fit_are_refused_with_what_would(gigabytes: int, actors: int | None, advice: str):
    with pytest.raises(
        CapacityError, match=rf"a worker takes 2\.50 GB of memory and {gigabytes}\.00 GB is avail.*{advice}"
    ):
        workforce([Room(cores=8, memory_bytes=gigabytes * GB)], int(2.5 * GB), actors=actors, threads=None, num_items=9)
