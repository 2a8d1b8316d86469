"""What libraries say where memory is short, each in words of its own, is told from other errors."""

from __future__ import annotations

import pytest

from edgephi.base.out_of_memory import is_out_of_memory


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("can't start new thread"),
        RuntimeError("can't allocate lock"),
        OSError(12, "Cannot allocate memory"),
        RuntimeError("std::bad_alloc"),
        ImportError("libonnxruntime.so.1: failed to map segment from shared object"),
    ],
)
def test_errors_about_memory_are_known_by_their_words(error: Exception):
    assert is_out_of_memory(error)
    raised_from_it = ValueError("the model cannot be loaded")
    raised_from_it.__cause__ = error
    assert is_out_of_memory(raised_from_it)


def test_other_errors_are_not_about_memory():
    error = ValueError("a lock is held")
    error.__context__ = RuntimeError("undefined symbol: x")
    assert not is_out_of_memory(error)
