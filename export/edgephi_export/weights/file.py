"""One `weights/*.bin`: bytes appended in order, counted and hashed, whole and by block, as they are written."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephi.bundle.block_hashes import BlockSums, FileBlocks
from edgephi.bundle.manifest import FileInfo
from edgephi.bundle.tensor_ref import TensorRef


class WeightsFile:
    """Writes one file. Use as a context manager.

    Args:
        folder: The bundle's folder.
        name: Path relative to it, with forward slashes.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self._path = folder / name
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._stream = self._path.open("xb")
        self._digest = hashlib.sha256()
        self._sums = BlockSums()
        self._size = 0

    def __enter__(self) -> WeightsFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()

    def start(self, ref: TensorRef) -> None:
        """Fill up with zeros to where a tensor begins.

        Raises:
            ValueError: More has been written already.
        """
        if ref.offset < self._size:
            raise ValueError(f"{self.name}: {self._size:,} bytes are written, a tensor should begin at {ref.offset:,}")
        self._write(bytes(ref.offset - self._size))

    def write(self, array: NDArray[Any]) -> None:
        """Append an array, row major, little endian."""
        if array.size:
            little = array.astype(array.dtype.newbyteorder("<"), copy=False)
            self._write(np.ascontiguousarray(little).reshape(-1).view(np.uint8).data)

    def end(self, ref: TensorRef) -> None:
        """Check that a tensor is complete.

        Raises:
            ValueError: The bytes since `start` are not its size.
        """
        if self._size != ref.offset + ref.num_bytes:
            raise ValueError(f"{self.name}: {self._size - ref.offset:,} bytes were written for shape {ref.shape}")

    def info(self) -> FileInfo:
        """Size and hash of what has been written."""
        return FileInfo(path=self.name, bytes=self._size, sha256=self._digest.hexdigest())

    def blocks(self) -> FileBlocks:
        """Checksums of the blocks that have been written."""
        return self._sums.of(self.name)

    def _write(self, data: bytes | memoryview) -> None:
        self._stream.write(data)
        self._digest.update(data)
        self._sums.update(data)
        self._size += len(data)
