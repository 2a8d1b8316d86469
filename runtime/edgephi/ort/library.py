"""The `onnxruntime` module, imported in this place only, and its errors as one line each."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from edgephi.base.errors import CapacityError, EdgeError
from edgephi.base.out_of_memory import is_out_of_memory

__all__ = ["first_line", "running", "runtime"]


def runtime() -> Any:
    """The `onnxruntime` module, imported on first use with its telemetry off.

    Raises:
        EdgeError: It is not installed, and the message is the pip command; or it cannot be loaded.
        CapacityError: There is not enough memory to load it.
    """
    # Read once by the library when it loads; a device at a customer's must not call home.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    with suppress(OSError):  # loaded while there is memory: without it the first C++ exception ends the process
        ctypes.CDLL("libgcc_s.so.1")
    try:
        import onnxruntime  # noqa: PLC0415 - optional, and heavy
    except ModuleNotFoundError as error:
        raise EdgeError('ONNX Runtime is not installed; run: pip install "edgephi[cpu]"') from error
    except (ImportError, OSError, MemoryError) as error:
        if is_out_of_memory(error):
            raise CapacityError(f"not enough free memory to load ONNX Runtime ({first_line(error)})") from error
        raise EdgeError(f"ONNX Runtime is installed but cannot be loaded ({first_line(error)})") from error
    return onnxruntime


@contextmanager
def running(where: str) -> Iterator[None]:
    """Around a session's run: what ONNX Runtime raises becomes one line.

    Args:
        where: What runs, such as `the decoder`.

    Raises:
        CapacityError: This machine has not enough free memory.
        EdgeError: ONNX Runtime failed.
    """
    try:
        yield
    except (MemoryError, EdgeError):
        raise
    except Exception as error:  # the library raises a dozen unrelated classes
        if is_out_of_memory(error):
            raise CapacityError(f"not enough free memory for {where}; free some, or shorten the input") from error
        raise EdgeError(f"ONNX Runtime failed in {where} ({first_line(error)})") from error


def first_line(error: Exception) -> str:
    """The first line of its message, or its name."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
