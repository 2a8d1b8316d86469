"""Keeps a C library that was built with OpenMP from starting threads of its own."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any


def one_thread_in(library: str) -> Callable[[], AbstractContextManager[None]]:
    """A context in which this thread's calls into a library run on this thread alone.

    The setting is the calling thread's and is put back at the end, so nothing else in a host program changes: an
    environment variable would be read by every library that is loaded later.

    Args:
        library: The path of a loaded shared library.
    """
    # Through the library's own handle the linker finds the OpenMP runtime that it was linked to, which bears another
    # name in every wheel. One that was loaded before for all (LD_PRELOAD) takes its place.
    found = {runtime.address: runtime for runtime in map(_runtime, (library, None)) if runtime is not None}
    runtimes = list(found.values())

    @contextmanager
    def alone() -> Iterator[None]:
        before = [runtime.get() for runtime in runtimes]
        for runtime in runtimes:
            runtime.set(0)  # levels of parallel regions that may have more than one thread
        try:
            yield
        finally:
            for runtime, levels in zip(runtimes, before, strict=True):
                runtime.set(levels)

    return alone


class _Runtime:
    """The two functions of an OpenMP runtime that are needed."""

    def __init__(self, functions: Any) -> None:
        self.get = functions.omp_get_max_active_levels
        self.set = functions.omp_set_max_active_levels
        self.address = ctypes.cast(self.set, ctypes.c_void_p).value


def _runtime(library: str | None) -> _Runtime | None:
    """The OpenMP runtime that a library's symbols lead to; None for a library built without."""
    try:
        return _Runtime(ctypes.CDLL(library))
    except (AttributeError, OSError):
        return None
