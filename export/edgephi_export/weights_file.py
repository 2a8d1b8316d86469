"""One `weights/*.bin`: tensors appended one after the other at aligned offsets.

Owns the file, its offsets and its sha256. Knows nothing about what the tensors are.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgephi.manifest import FileInfo, TensorRef

#: Mapped pages start at multiples of this on every system that ONNX Runtime runs on, 64 KiB pages aside.
ALIGNMENT_BYTES = 4096


class WeightsFile:
    """Writes tensors and says where they are. Use as a context manager.

    Args:
        folder: The bundle's folder.
        name: Path relative to it, with forward slashes.
        on_bytes: Called with the number of bytes after each write.
    """

    def __init__(self, folder: Path, name: str, on_bytes: Callable[[int], None] | None = None) -> None:
        self.name = name
        self._path = folder / name
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._stream = self._path.open("xb")
        self._digest = hashlib.sha256()
        self._size = 0
        self._on_bytes = on_bytes

    def __enter__(self) -> WeightsFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()

    def append(self, array: NDArray[np.float32]) -> TensorRef:
        """Write one float32 tensor, row major."""
        return self.append_blocks(array.shape, [array])

    def append_blocks(self, shape: tuple[int, ...], blocks: Iterable[NDArray[np.float32]]) -> TensorRef:
        """Write one tensor that comes in consecutive blocks along its first axis.

        Raises:
            ValueError: The blocks do not add up to `shape`.
        """
        self._write(bytes(-self._size % ALIGNMENT_BYTES))
        ref = TensorRef(file=self.name, offset=self._size, dtype="float32", shape=shape)
        for block in blocks:
            self._write(np.ascontiguousarray(block, dtype="<f4").data.cast("B") if block.size else b"")
        if self._size - ref.offset != ref.num_bytes:
            raise ValueError(f"{self.name}: {self._size - ref.offset} bytes written for shape {shape}")
        return ref

    def info(self) -> FileInfo:
        """Size and hash of what has been written."""
        return FileInfo(path=self.name, bytes=self._size, sha256=self._digest.hexdigest())

    def _write(self, data: bytes | memoryview) -> None:
        self._stream.write(data)
        self._digest.update(data)
        self._size += len(data)
        if self._on_bytes is not None:
            self._on_bytes(len(data))


def external_tensor(name: str, ref: TensorRef) -> ir.ExternalTensor:
    """The ONNX constant that lies at `ref`; graphs stand at the bundle's root, so the path is relative to them."""
    return ir.ExternalTensor(
        ref.file,
        ref.offset,
        4 * math.prod(ref.shape),
        ir.DataType.FLOAT,
        shape=ir.Shape(ref.shape),
        name=name,
    )
