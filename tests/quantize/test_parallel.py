"""Threads must not reorder tensors, swallow an error, hoard memory or outlive an interrupted export."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from edgephi_quantize.parallel import ordered_map


def _workers() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("ordered-map")}


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_results_come_in_order_whoever_finishes_first(threads: int):
    second_is_done = threading.Event()

    def work(item: int) -> int:
        if item == 0 and threads > 1:
            assert second_is_done.wait(10)
        if item == 1:
            second_is_done.set()
        return item * item

    assert list(ordered_map(work, range(20), threads=threads)) == [item * item for item in range(20)]
    assert not _workers()


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_few_items_are_in_flight_even_when_the_reader_is_slow(threads: int):
    taken, yielded = 0, 0

    def items() -> Iterator[int]:
        nonlocal taken
        for item in range(50):
            taken += 1
            assert taken - yielded <= 2 * threads
            yield item

    for _ in ordered_map(lambda item: item, items(), threads=threads):
        yielded += 1
    assert yielded == 50


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_an_error_surfaces_at_its_place_and_the_rest_is_not_begun(threads: int):
    begun: list[int] = []

    def work(item: int) -> int:
        begun.append(item)
        if item == 5:
            raise RuntimeError("damaged tensor")
        return item

    results = ordered_map(work, range(1000), threads=threads)
    assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(RuntimeError, match="damaged tensor"):
        next(results)
    assert len(begun) <= 6 + 2 * threads
    assert not _workers()


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_interrupted_reader_leaves_no_thread_behind(error: type[BaseException]):
    begun: list[int] = []

    def read() -> None:
        results = ordered_map(begun.append, range(1000), threads=3)
        try:
            for count, _ in enumerate(results):
                if count == 4:
                    raise error
        finally:
            results.close()

    with pytest.raises(error):
        read()
    assert len(begun) <= 5 + 6
    assert not _workers()


def test_an_error_of_the_items_themselves_surfaces_too():
    def items() -> Iterator[int]:
        yield 1
        raise OSError("the disk went away")

    with pytest.raises(OSError, match="the disk went away"):
        list(ordered_map(lambda item: item, items(), threads=2))
    assert not _workers()


def test_no_threads_are_refused_before_anything_is_read():
    with pytest.raises(ValueError, match="0 threads; at least 1 is needed"):
        ordered_map(lambda item: item, iter([1]), threads=0)
