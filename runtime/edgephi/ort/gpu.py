"""What every GPU device does: memory of its own, bindings that move only what changes, one run at a time.

    per run   host to device   inputs whose content may change
              device to host   outputs that are bound to host memory
    always on the device       weights, caches, constants

Sessions of one process share the device's queue, which is not made for several threads: a run waits for the one before.
"""

from __future__ import annotations

import math
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from threading import RLock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephi.base.errors import CapacityError, ConfigError, EdgeError
from edgephi.base.free_memory import headroom
from edgephi.base.units import human_bytes
from edgephi.ort.assignment import assignment_of
from edgephi.ort.device import Binding, Buffer, MemoryNeed
from edgephi.ort.device_names import DeviceName
from edgephi.ort.library import runtime
from edgephi.ort.vulkan import GpuFacts

_LOST = "lost"
_ON_HOST = "Cpu"
_SHARES_MEMORY = ("integrated", "software")


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class GpuBuffer:
    """See Buffer.

    Attributes:
        value: OrtValue in the device's memory.
        shape: Axes.
        dtype: Of every value.
    """

    value: Any
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def nbytes(self) -> int:
        """Its size."""
        return math.prod(self.shape) * self.dtype.itemsize


class GpuDevice(ABC):
    """See Device.

    Args:
        name: As in `ModelOptions.device`, and ONNX Runtime's word for the memory.
        provider: ONNX Runtime's name of what runs the graphs.
        facts: Of the GPU; None where they are not known.

    Attributes:
        facts: As given.
        held_bytes: Of weights and buffers that live.
    """

    is_host = False

    def __init__(self, name: DeviceName, provider: str, facts: GpuFacts | None) -> None:
        self.name, self.facts, self._provider = name, facts, provider
        self.held_bytes = 0
        self._ort = runtime()
        self._lock = RLock()
        self._generation = 0  # of sessions; those of an earlier one have lost the device
        self._constants: dict[int, tuple[weakref.ref[NDArray[Any]], Any]] = {}

    def configure(self, settings: Any, graph: bytes) -> list[Any] | None:
        """See Device; the session will say which nodes run where."""
        settings.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        return self._choose(settings, graph)

    @abstractmethod
    def _choose(self, settings: Any, graph: bytes) -> list[Any] | None:
        """Make a session run here; gives its `providers`."""

    @property
    def most_positions(self) -> int | None:
        """See Device; a provider may know of a limit."""
        return None

    @property
    def has_float16(self) -> bool:
        """Whether it computes with float16; where that is not known, a graph will show it."""
        return self.facts is None or self.facts.has_float16

    def __str__(self) -> str:
        return self.name if self.facts is None else f"{self.name} ({self.facts.name})"

    def check_room(self, need: MemoryNeed) -> None:
        """By the driver's figures, less what models of this process hold; other programs hold some too.

        Raises:
            CapacityError: It does not fit.
        """
        facts = self.facts
        if facts is None:
            return
        if need.largest_bytes > facts.largest_buffer_bytes:
            raise CapacityError(
                f"{need.what}: needs a buffer of {human_bytes(need.largest_bytes, 2)}, and {self} takes "
                f"{human_bytes(facts.largest_buffer_bytes, 2)} at most; shorten the input, or use device 'cpu'"
            )
        free = max(0, facts.memory_bytes - self.held_bytes)
        if facts.kind in _SHARES_MEMORY:
            free = min(free, headroom().free_bytes)
        if need.num_bytes > free:
            raise CapacityError(
                f"{need.what}: needs {human_bytes(need.num_bytes, 2)}, and {self} has {human_bytes(free, 2)} left of "
                f"{human_bytes(facts.memory_bytes, 2)}; shorten the input, use a smaller recipe, or device 'cpu'"
            )

    def open(self, load: Callable[[], Any], num_bytes: int) -> Any:
        """A session whose runs wait for those of the others.

        Raises:
            ConfigError: ONNX Runtime opened it elsewhere, which it does without a word.
        """
        with self.turn(self._generation):
            session = GpuSession(self, load(), self._generation)
        if self._provider not in session.inner.get_providers():
            raise ConfigError(
                f"device is {self.name!r}, but ONNX Runtime cannot use it here: its driver or a library that it needs "
                "is missing; use 'cpu'"
            )
        self._count(session, num_bytes)
        return session

    def _count(self, holder: object, num_bytes: int) -> None:
        """Take in what is held for as long as `holder` lives."""

        def give_back() -> None:
            self.held_bytes -= num_bytes

        self.held_bytes += num_bytes
        weakref.finalize(holder, give_back).atexit = False

    def bind(self, session: Any) -> Binding:
        """A binding of a session of this device."""
        return _GpuBinding(self, session)

    def zeros(self, shape: tuple[int, ...], dtype: str) -> Buffer:
        """Zeros: what an attention does not look at must still be finite."""
        buffer = GpuBuffer(self.placed(np.zeros(shape, dtype)), shape, np.dtype(dtype))
        self._count(buffer, buffer.nbytes)
        return buffer

    def copy(self, source: Buffer, target: Buffer, length: int) -> None:
        """By way of the host: it happens when a cache grows or branches, not at each step."""
        self.write(target, self.read(source, length))

    def read(self, buffer: Buffer, length: int) -> NDArray[Any]:
        """A copy."""
        with self.turn(self._generation):
            found: NDArray[Any] = _own(buffer).value.numpy()
        return found[:, :, :length]

    def write(self, buffer: Buffer, rows: NDArray[Any]) -> None:
        """The other positions become zeros."""
        whole = np.zeros(buffer.shape, buffer.dtype)
        whole[:, :, : rows.shape[2]] = rows
        with self.turn(self._generation):
            _own(buffer).value.update_inplace(whole)

    def placed(self, array: NDArray[Any]) -> Any:
        """OrtValue: a copy in the device's memory.

        Raises:
            MemoryError: There is not so much memory, or a buffer may not be so large.
        """
        with self.turn(self._generation):
            try:
                return self._ort.OrtValue.ortvalue_from_numpy(array, self.name, 0)
            except Exception as error:  # the library raises a dozen unrelated classes
                if _is_lost(error):
                    raise
                raise MemoryError(str(error)) from error

    def constant(self, array: NDArray[Any]) -> Any:
        """OrtValue: the copy of an array whose content stays, one for as long as the array lives."""
        key = id(array)
        found = self._constants.get(key)
        if found is not None and found[0]() is array:
            return found[1]
        value = self.placed(array)
        self._constants[key] = (weakref.ref(array, lambda _: self._constants.pop(key, None)), value)
        return value

    @contextmanager
    def turn(self, generation: int) -> Iterator[None]:
        """Around everything that uses the device's queue.

        Raises:
            EdgeError: The device was lost, now or since a session of this generation was opened.
        """
        with self._lock:
            if generation != self._generation:
                raise self._gone()
            try:
                yield
            except Exception as error:
                if not _is_lost(error) or isinstance(error, EdgeError):
                    raise
                self._generation += 1
                self._constants.clear()
                raise self._gone() from error

    def _gone(self) -> EdgeError:
        return EdgeError(
            f"device {self.name!r} was lost, as when its driver is reset, and with it all that this model had there; "
            "close the model and load it again"
        )


class GpuSession:
    """The parts of an `onnxruntime.InferenceSession` that are used, one run of all sessions at a time.

    Args:
        device: Runs it.
        opened: The session.
        generation: Of the device when it was opened.

    Attributes:
        inner: The session.
        assignment: Which nodes ONNX Runtime runs on the CPU.
        edgephi_weights: What must live as long as it.
    """

    def __init__(self, device: GpuDevice, opened: Any, generation: int) -> None:
        self._device, self.inner, self._generation = device, opened, generation
        self.assignment = assignment_of(opened)
        self.edgephi_weights: Any = None

    def get_inputs(self) -> Any:
        """As ONNX Runtime's."""
        return self.inner.get_inputs()

    def get_outputs(self) -> Any:
        """As ONNX Runtime's."""
        return self.inner.get_outputs()

    def run(self, output_names: list[str], input_feed: Mapping[str, NDArray[Any]], run_options: Any = None) -> Any:
        """As ONNX Runtime's: arrays of the host go in and come out."""
        with self._device.turn(self._generation):
            return self.inner.run(output_names, input_feed, run_options)

    def run_bound(self, binding: Any, changing: Mapping[str, tuple[Any, NDArray[Any]]], options: Any) -> None:
        """Run with what is bound, once the device's copies of inputs are what the host has."""
        with self._device.turn(self._generation):
            for value, array in changing.values():
                value.update_inplace(array)
            self.inner.run_with_iobinding(binding, options)


class _GpuBinding:
    """See Binding.

    An input from host memory is copied when it is bound, not when the session runs. So one whose content changes is
    bound as a value of the device, which every run writes first; those that the graph reads on the host are aliased.
    """

    def __init__(self, device: GpuDevice, session: GpuSession) -> None:
        self._device, self._session, self._ort = device, session, runtime()
        inner = session.inner
        self._binding = inner.io_binding()
        names = [value.name for value in inner.get_inputs()]
        self._read_on_host = {
            name for name, info in zip(names, inner.get_input_memory_infos(), strict=True) if info.name == _ON_HOST
        }
        self._changing: dict[str, tuple[Any, NDArray[Any]]] = {}
        self._aliased: dict[str, NDArray[Any]] = {}  # ONNX Runtime holds no reference to the memory it aliases

    def run(self, options: Any) -> None:
        self._session.run_bound(self._binding, self._changing, options)

    def add_input(self, name: str, array: NDArray[Any]) -> None:
        if name in self._read_on_host:
            self._binding.bind_ortvalue_input(name, self._alias(name, array))
            return
        value = self._device.placed(array)
        self._changing[name] = value, array
        self._binding.bind_ortvalue_input(name, value)

    def add_constant(self, name: str, array: NDArray[Any]) -> None:
        if name in self._read_on_host:
            self.add_input(name, array)
        else:
            self._binding.bind_ortvalue_input(name, self._device.constant(array))

    def add_output(self, name: str, array: NDArray[Any]) -> None:
        self._binding.bind_ortvalue_output(name, self._alias(name, array))

    def add_cache(self, past: str, present: str, buffer: Buffer) -> None:
        self._binding.bind_ortvalue_input(past, _own(buffer).value)
        self._binding.bind_ortvalue_output(present, _own(buffer).value)

    def _alias(self, name: str, array: NDArray[Any]) -> Any:
        self._aliased[name] = array
        return self._ort.OrtValue.ortvalue_from_numpy(array)


def _own(buffer: Buffer) -> GpuBuffer:
    if not isinstance(buffer, GpuBuffer):
        raise TypeError("the buffer is not a GPU's")
    return buffer


def _is_lost(error: Exception) -> bool:
    text = str(error).lower()
    return _LOST in text and "device" in text
