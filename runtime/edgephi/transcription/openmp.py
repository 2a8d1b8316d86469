"""Keeps a C library that was built with OpenMP from starting threads of its own."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any


def one_thread_in(library: str) -> Callable[[], AbstractContextManager[None]]:
    """A context in which calls into a library run on the calling thread alone.

    The setting is the process's, in all libraries that share the OpenMP runtime; it is put back when the last context
    of any thread ends, so a host program's own use is as before: an environment variable would be read by each library
    that is loaded later.

    Args:
        library: The path of a loaded shared library.
    """
    # Through the library's own handle the linker finds the OpenMP runtime that it was linked to, which bears another
    # name in every wheel. One that was loaded before for all (LD_PRELOAD) takes its place.
    found = [runtime for runtime in map(_runtime, (library, None)) if runtime is not None]
    limits = {limit.address: limit for limit in map(_limit, found)}

    @contextmanager
    def alone() -> Iterator[None]:
        with ExitStack() as stack:
            for limit in limits.values():
                stack.enter_context(limit.held())
            yield

    return alone


class _Limit:
    """The limit of one OpenMP runtime, held by any number of threads at once."""

    def __init__(self, functions: Any) -> None:
        self._get = functions.omp_get_max_active_levels
        self._set = functions.omp_set_max_active_levels
        self.address = _address(functions)
        self._lock = threading.Lock()
        self._holders = 0
        self._before = 0

    @contextmanager
    def held(self) -> Iterator[None]:
        try:
            with self._lock:
                self._holders += 1
                if self._holders == 1:
                    self._before = self._get()
                    self._set(0)  # levels of parallel regions that may have more than one thread
            yield
        finally:
            with self._lock:
                self._holders -= 1
                if self._holders == 0:
                    self._set(self._before)


_limits: dict[int, _Limit] = {}
_limits_lock = threading.Lock()


def _limit(functions: Any) -> _Limit:
    with _limits_lock:
        return _limits.setdefault(_address(functions), _Limit(functions))


def _address(functions: Any) -> int:
    return ctypes.cast(functions.omp_set_max_active_levels, ctypes.c_void_p).value or 0


def _runtime(library: str | None) -> Any:
    """The library whose symbols lead to an OpenMP runtime; None for one built without."""
    try:
        functions = ctypes.CDLL(library)
        _address(functions)
    except (AttributeError, OSError):
        return None
    return functions
