"""Errors of libraries where memory is short: ONNX Runtime, the dynamic linker and Python share no error for it."""

from __future__ import annotations

_WORDS = (
    "bad_alloc",
    "failed to allocate memory",
    "failed to map segment",
    "cannot allocate memory",
    "cannot allocate",
    "unable to allocate",
    "out of memory",
    "can't start new thread",
    "can't allocate",  # a lock, by Python
    "resource temporarily unavailable",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error, or what it was raised from, is about too little memory."""
    while not isinstance(error, MemoryError):
        if any(words in str(error).lower() for words in _WORDS):
            return True
        cause = error.__cause__ or error.__context__
        if cause is None:
            return False
        error = cause
    return True
