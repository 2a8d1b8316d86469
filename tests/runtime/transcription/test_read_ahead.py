"""The thread that works ahead must keep the order, hand on errors, and end."""

from __future__ import annotations

import threading

import pytest

from edgephi.transcription.read_ahead import read_ahead


def _threads() -> int:
    return sum(thread.name == "read-ahead" for thread in threading.enumerate())


def test_items_come_in_order_and_the_thread_ends():
    assert list(read_ahead(lambda _: range(100))) == list(range(100))
    assert _threads() == 0


def test_the_next_item_is_made_while_the_first_is_used():
    second_made = threading.Event()

    def items():
        yield 1
        second_made.set()
        yield 2

    made = read_ahead(lambda _: items())
    assert next(made) == 1
    assert second_made.wait(timeout=10)  # without being asked for it
    assert list(made) == [2]


def test_only_the_next_item_is_made_ahead():
    """Otherwise a long recording would lie in memory."""
    begun: list[int] = []

    def items():
        for number in range(10):
            begun.append(number)
            yield number

    made = read_ahead(lambda _: items())
    for number in range(5):
        assert next(made) == number
        threading.Event().wait(0.02)  # time enough for a thread that does not wait
        assert len(begun) <= number + 2
    made.close()
    assert _threads() == 0
    assert len(begun) <= 7


def test_an_error_comes_after_the_items_before_it():
    def items():
        yield 1
        yield 2
        raise OSError("the disk is gone")

    got: list[int] = []
    with pytest.raises(OSError, match="the disk is gone"):
        got.extend(read_ahead(lambda _: items()))
    assert got == [1, 2]
    assert _threads() == 0


def test_closing_ends_a_thread_that_would_never_find_another_item():
    """A recording can be silent for hours."""

    def items(is_closed):
        yield 1
        while not is_closed():
            pass

    made = read_ahead(items)
    assert next(made) == 1
    made.close()
    assert _threads() == 0
