"""`Device`: where graphs run and where their caches are. Nothing above this room names ONNX Runtime's providers.

Buffer    memory of a device that a graph reads and writes in place: on the CPU a numpy array
Binding   the inputs and outputs of one session for passes of one shape
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgephi.ort.device_names import DeviceName


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryNeed:
    """Memory that is asked of a device.

    Attributes:
        what: Needs it, as a message begins.
        num_bytes: In all.
        largest_bytes: Of the largest of its buffers.
    """

    what: str
    num_bytes: int
    largest_bytes: int


class Buffer(Protocol):
    """Memory of a device, for values of one shape and type."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Axes."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of every value."""
        ...

    @property
    def nbytes(self) -> int:
        """Its size."""
        ...


class Binding(Protocol):
    """What a session reads and writes. Host memory that is bound is read and written by each run."""

    @property
    def run(self) -> Callable[[Any], None]:
        """Runs the session, given RunOptions or None."""
        ...

    def add_input(self, name: str, array: NDArray[Any]) -> None:
        """Host memory whose content may change before each run."""
        ...

    def add_constant(self, name: str, array: NDArray[Any]) -> None:
        """Host memory whose content stays."""
        ...

    def add_output(self, name: str, array: NDArray[Any]) -> None:
        """Host memory that each run writes."""
        ...

    def add_cache(self, past: str, present: str, buffer: Buffer) -> None:
        """A buffer of the device that is input and output at once."""
        ...


class Device(Protocol):
    """Where graphs run.

    Attributes:
        name: As in `ModelOptions.device`.
        is_host: Weights, caches and activations are in the process's own memory.
    """

    name: DeviceName
    is_host: bool

    @property
    def most_positions(self) -> int | None:
        """Positions of one pass of the decoder at most; None where the device sets no limit."""
        ...

    @property
    def has_float16(self) -> bool:
        """Whether it computes with float16."""
        ...

    def check_room(self, need: MemoryNeed) -> None:
        """Refuse what its memory does not hold; memory of the process is for others to check.

        Raises:
            CapacityError: It does not fit.
        """
        ...

    def configure(self, settings: Any, graph: bytes) -> list[Any] | None:
        """Make the session of a graph that is opened with these SessionOptions run here; gives its `providers`."""
        ...

    def open(self, load: Callable[[], Any], num_bytes: int) -> Any:
        """The session that `load` opens with settings of `configure`, as it is to be used.

        Args:
            load: Opens it.
            num_bytes: Of its weights.
        """
        ...

    def bind(self, session: Any) -> Binding:
        """A binding of a session, with nothing bound."""
        ...

    def zeros(self, shape: tuple[int, ...], dtype: str) -> Buffer:
        """A buffer of zeros.

        Raises:
            MemoryError: There is not so much memory; also OSError, OverflowError and ValueError.
        """
        ...

    def copy(self, source: Buffer, target: Buffer, length: int) -> None:
        """Copy the first `length` positions, axis 2, into another buffer, whose others are undefined then."""
        ...

    def read(self, buffer: Buffer, length: int) -> NDArray[Any]:
        """The first `length` positions, axis 2, in host memory; not to be changed."""
        ...

    def write(self, buffer: Buffer, rows: NDArray[Any]) -> None:
        """Replace the first positions, axis 2, by `rows`; the others are undefined then."""
        ...
