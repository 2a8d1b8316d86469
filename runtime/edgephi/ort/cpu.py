"""The CPU: host memory is the device's memory, and ONNX Runtime aliases it."""

from __future__ import annotations

import math
import mmap
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephi.ort.device import Binding, Buffer, MemoryNeed
from edgephi.ort.device_names import DeviceName
from edgephi.ort.library import runtime


class CpuDevice:
    """See Device. A buffer is a numpy array in an anonymous map of its own.

    Its pages cost memory when they are first written, and all of it goes back to the system when it is dropped.
    """

    name: DeviceName = "cpu"
    is_host = True
    has_float16 = True
    most_positions = None

    def check_room(self, need: MemoryNeed) -> None:
        """Everything is memory of the process."""

    def configure(self, settings: Any, graph: bytes) -> list[str]:
        """The provider that every ONNX Runtime has; the settings stay."""
        del settings, graph
        return ["CPUExecutionProvider"]

    def open(self, load: Callable[[], Any], num_bytes: int) -> Any:
        """Used as it is."""
        del num_bytes
        return load()

    def bind(self, session: Any) -> Binding:
        """A binding that aliases what is bound."""
        return _CpuBinding(session)

    def zeros(self, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
        """Zeros in pages that take memory when they are written."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        return np.frombuffer(pages, dtype).reshape(shape)

    def copy(self, source: Buffer, target: Buffer, length: int) -> None:
        """Position by position."""
        _array(target)[:, :, :length] = _array(source)[:, :, :length]

    def read(self, buffer: Buffer, length: int) -> NDArray[Any]:
        """A view."""
        return _array(buffer)[:, :, :length]

    def write(self, buffer: Buffer, rows: NDArray[Any]) -> None:
        """The other positions stay."""
        _array(buffer)[:, :, : rows.shape[2]] = rows


CPU = CpuDevice()


class _CpuBinding:
    """See Binding."""

    def __init__(self, session: Any) -> None:
        self._ort = runtime()
        self._binding = session.io_binding()
        self._bound: dict[str, NDArray[Any]] = {}  # ONNX Runtime holds no reference to the memory it aliases
        self.run = partial(session.run_with_iobinding, self._binding)

    def add_input(self, name: str, array: NDArray[Any]) -> None:
        self._binding.bind_ortvalue_input(name, self._aliased(name, array))

    add_constant = add_input

    def add_output(self, name: str, array: NDArray[Any]) -> None:
        self._binding.bind_ortvalue_output(name, self._aliased(name, array))

    def add_cache(self, past: str, present: str, buffer: Buffer) -> None:
        self.add_input(past, _array(buffer))
        self.add_output(present, _array(buffer))

    def _aliased(self, name: str, array: NDArray[Any]) -> Any:
        self._bound[name] = array
        return self._ort.OrtValue.ortvalue_from_numpy(array)


def _array(buffer: Buffer) -> NDArray[Any]:
    if not isinstance(buffer, np.ndarray):
        raise TypeError("the buffer is not the CPU's")
    return buffer
