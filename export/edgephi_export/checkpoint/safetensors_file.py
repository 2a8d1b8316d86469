"""One safetensors file: its header, checked before any tensor is believed, and bounded reads of its tensors.

The format (https://github.com/huggingface/safetensors: 8 bytes of header length, a JSON header, the data).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephi.base.errors import ArtifactError

#: The format's own limit; a longer header is damage, not a model.
_MAX_HEADER_BYTES = 100_000_000
#: The format counts in 64 bits and a file system in 63. Python would take any number, and refuse to print long ones.
_MAX_COUNT = 2**63 - 1
_ITEM_BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2,
    "I32": 4, "U32": 4, "F32": 4, "F64": 8, "I64": 8, "U64": 8,
}  # fmt: skip
_QUANTIZED = "A checkpoint that is quantized already cannot be exported; give the one it was made from"
#: How the format names its types: the newer ones are of quantized models, and some take less than a byte.
_DTYPE_NAME = re.compile(r"(?:C|F|BF|I|U|E)\d+(?:_E\dM\d\w*)?")
#: How a value lies in the file, and the bits of it that are all set in NaN and infinity.
_READABLE: dict[str, tuple[np.dtype[Any], int]] = {
    "F32": (np.dtype("<u4"), 0x7F800000),
    "F16": (np.dtype("<u2"), 0x7C00),
    "BF16": (np.dtype("<u2"), 0x7F80),
}


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """Where a tensor lies: `num_bytes` bytes of `file` from `offset` on, in the format's own dtype name."""

    file: Path
    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int

    @property
    def num_bytes(self) -> int:
        """Bytes it takes in the file."""
        return math.prod(self.shape) * _ITEM_BYTES[self.dtype]

    @property
    def row_bytes(self) -> int:
        """Bytes of one step along the first axis."""
        return self.num_bytes // self.shape[0] if self.num_bytes else 0

    def check_dtype(self) -> None:
        """Refuse what `read` cannot give.

        Raises:
            ArtifactError: The dtype is not a float of 16 or 32 bits.
        """
        if self.dtype not in _READABLE:
            raise ArtifactError(
                f"{self.file}: tensor {self.name} is {self.dtype}; supported: {', '.join(_READABLE)}. {_QUANTIZED}"
            )

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Rows `start` to `stop` of the first axis as a new float32 array; 16-bit floats convert exactly.

        Raises:
            ArtifactError: The dtype is not a float of 16 or 32 bits, the file became shorter, or a value is not finite.
        """
        return self._floats(self.read_bytes(start, stop)).reshape(stop - start, *self.shape[1:])

    def read_float_columns(self, start: int, stop: int) -> NDArray[np.float32]:
        """Columns `start` to `stop` of a matrix, as `read` gives rows: float32 [rows, stop - start].

        Raises:
            ArtifactError: As for `read`.
        """
        return self._floats(self.read_columns(start, stop))

    def read_columns(self, start: int, stop: int) -> NDArray[np.uint8]:
        """The stored bytes of columns `start` to `stop` of a matrix: uint8 [rows, bytes of the columns].

        Raises:
            ArtifactError: The file cannot be read or became shorter.
        """
        rows, columns = self.shape
        item_bytes = _ITEM_BYTES[self.dtype]
        if (start, stop) == (0, columns):
            return self.read_bytes(0, rows).reshape(rows, -1)
        data = np.empty((rows, (stop - start) * item_bytes), dtype=np.uint8)
        offsets = range(self.offset + start * item_bytes, self.offset + self.num_bytes, self.row_bytes)
        self._fill(zip(offsets, data, strict=True))
        return data

    def read_bytes(self, start: int, stop: int) -> NDArray[np.uint8]:
        """The stored bytes of rows `start` to `stop`, read and not mapped: mapped pages would count as memory used.

        Raises:
            ArtifactError: The file cannot be read or became shorter.
        """
        data = np.empty((stop - start) * self.row_bytes, dtype=np.uint8)
        self._fill([(self.offset + start * self.row_bytes, data)])
        return data

    def _fill(self, places: Iterable[tuple[int, NDArray[np.uint8]]]) -> None:
        """Fill each array from its offset of the file on."""
        rest = memoryview(b"")
        try:
            with self.file.open("rb", buffering=0) as stream:
                for offset, data in places:
                    stream.seek(offset)
                    rest = data.data
                    while rest and (count := stream.readinto(rest)):
                        rest = rest[count:]
                    if rest:
                        raise ArtifactError(f"{self.file}: tensor {self.name} cannot be read (the file became shorter)")
        except OSError as error:
            raise ArtifactError(f"{self.file}: tensor {self.name} cannot be read ({error})") from error

    def _floats(self, data: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Stored floats as float32, all finite."""
        self.check_dtype()
        dtype, exponent = _READABLE[self.dtype]
        bits = data.view(dtype)
        if bits.size and (bits & dtype.type(exponent)).max() == exponent:
            raise ArtifactError(f"{self.file}: tensor {self.name} holds NaN or infinity; the checkpoint is damaged")
        return _to_float32(bits, self.dtype)


def _to_float32(bits: NDArray[Any], dtype: str) -> NDArray[np.float32]:
    """bfloat16 is the upper half of float32."""
    if dtype == "BF16":
        wide = bits.astype("<u4")
        wide <<= 16
        return wide.view("<f4")
    if dtype == "F16":
        return bits.view("<f2").astype(np.float32)
    return bits.view("<f4").astype(np.float32, copy=False)


def read_header(path: Path) -> dict[str, StoredTensor]:
    """The tensors of a file by name.

    Raises:
        ArtifactError: The file is missing, truncated, or its header contradicts itself or the file's size. The message
            names the file, and the tensor where one is to blame.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if size < 8 or length > min(_MAX_HEADER_BYTES, size - 8):
                raise ArtifactError(f"{path}: truncated, or not a safetensors file ({size:,} bytes)")
            text = stream.read(length)
    except FileNotFoundError:
        raise ArtifactError(f"{path}: missing from the checkpoint") from None
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error})") from error
    tensors = [
        _entry(path, name, raw, 8 + length) for name, raw in _parse(path, text).items() if name != "__metadata__"
    ]
    _check_extents(path, tensors, 8 + length, size)
    return {tensor.name: tensor for tensor in tensors}


def _parse(path: Path, text: bytes) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        if len(set(names)) != len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ArtifactError(f"{path}: {twice} appears twice in the header")
        return dict(pairs)

    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{path}: damaged safetensors header ({error})") from error
    if not isinstance(header, dict):
        raise ArtifactError(f"{path}: damaged safetensors header: not an object")
    return header


def _entry(path: Path, name: str, raw: object, data_start: int) -> StoredTensor:
    if not name.isprintable():
        raise ArtifactError(f"{path}: the tensor name {name!r} has characters that cannot be printed")
    entry: dict[str, Any] = raw if isinstance(raw, dict) else {}
    dtype: Any = entry.get("dtype")
    shape: Any = entry.get("shape")
    offsets: Any = entry.get("data_offsets")
    known = isinstance(dtype, str) and dtype in _ITEM_BYTES
    if isinstance(dtype, str) and not known and _DTYPE_NAME.fullmatch(dtype):
        raise ArtifactError(
            f"{path}: tensor {name} is {dtype}, a type that edgephi does not read; supported: {', '.join(_READABLE)}. "
            f"{_QUANTIZED}"
        )
    if not known or not _are_counts(shape) or not _are_counts(offsets) or len(offsets) != 2:
        raise ArtifactError(f"{path}: tensor {name} has a damaged header entry")
    begin, end = offsets
    tensor = StoredTensor(path, name, dtype, tuple(shape), data_start + begin)
    if tensor.num_bytes > _MAX_COUNT:
        raise ArtifactError(f"{path}: tensor {name} has a damaged header entry: no file is as large as its shape")
    if end - begin != tensor.num_bytes:
        raise ArtifactError(
            f"{path}: tensor {name} of shape {shape} and type {dtype} needs {tensor.num_bytes:,} bytes, "
            f"its header entry gives it {end - begin:,}"
        )
    return tensor


def _are_counts(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int and 0 <= item <= _MAX_COUNT for item in value)


def _check_extents(path: Path, tensors: list[StoredTensor], data_start: int, size: int) -> None:
    """The tensors must fill the data part exactly, without sharing bytes."""
    end = data_start
    for tensor in sorted(tensors, key=lambda item: (item.offset, item.num_bytes)):
        if tensor.offset != end:
            raise ArtifactError(f"{path}: tensor {tensor.name} overlaps another or leaves a gap; the file is damaged")
        end += tensor.num_bytes
        if end > size:
            raise ArtifactError(f"{path}: tensor {tensor.name} ends after the file; the file is truncated")
    if end != size:
        raise ArtifactError(f"{path}: {size - end:,} bytes belong to no tensor; the file is damaged")
