"""Tensors and tables inside a model folder's data files: where they lie, and what shape they must have."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

_ITEM_BYTES = {"float32": 4, "float16": 2, "uint8": 1, "int8": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorRef:
    """A tensor inside one of the folder's data files, readable without ONNX Runtime.

    Attributes:
        file: Path relative to the folder.
        offset: First byte.
        dtype: NumPy name, little endian.
        shape: Axes, outermost first.
    """

    file: str
    offset: int
    dtype: Literal["float32", "float16", "uint8", "int8"]
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.offset < 0 or not self.shape or min(self.shape) < 0:
            raise ValueError(f"a tensor at {self.offset} has shape {list(self.shape)}; neither can be negative")

    @property
    def num_bytes(self) -> int:
        """Bytes from `offset` that belong to the tensor."""
        return math.prod(self.shape) * _ITEM_BYTES[self.dtype]

    def rows(self, start: int, stop: int) -> TensorRef:
        """The part from `start` up to `stop` along the first axis."""
        row_bytes = math.prod(self.shape[1:]) * _ITEM_BYTES[self.dtype]
        return replace(self, offset=self.offset + start * row_bytes, shape=(stop - start, *self.shape[1:]))


@dataclass(frozen=True, slots=True, kw_only=True)
class TableInfo:
    """A table [V, H] whose rows are read without ONNX Runtime; the decoder's head reads the same bytes.

    Attributes:
        bits: Bits per weight; 16 and 32 are floats.
        block_size: Weights of a row that share a scale; None for floats.
        values: Floats [V, H], or uint8 [V, blocks, block_size * bits / 8] as MatMulNBits packs them.
        scales: Floats [V, blocks]; None for floats.
        zero_points: uint8 [V, ceil(blocks * bits / 8)], packed; None for floats and where it is always 2^(bits - 1).
    """

    bits: Literal[2, 4, 8, 16, 32]
    block_size: int | None
    values: TensorRef
    scales: TensorRef | None
    zero_points: TensorRef | None

    @property
    def tensors(self) -> tuple[TensorRef, ...]:
        """Its tensors."""
        return tuple(ref for ref in (self.values, self.scales, self.zero_points) if ref is not None)

    def check_shape(self, rows: int, columns: int) -> None:
        """Refuse parts that do not make a table of this size.

        Raises:
            ValueError: A part is missing, superfluous, or of another shape or dtype.
        """
        expected: dict[str, tuple[tuple[str, ...], tuple[int, ...]] | None]
        if self.block_size is None:
            dtype = {16: "float16", 32: "float32"}.get(self.bits, "")
            expected = {"values": ((dtype,), (rows, columns)), "scales": None, "zero_points": None}
        else:
            if self.bits > 8 or self.block_size not in (16, 32, 64, 128, 256):
                raise ValueError(f"an embedding of {self.bits} bits in blocks of {self.block_size} is not known")
            blocks = -(-columns // self.block_size)
            packed = (rows, blocks, self.block_size * self.bits // 8)
            expected = {"values": (("uint8",), packed), "scales": (("float32", "float16"), (rows, blocks))}
            if self.zero_points is not None:
                expected["zero_points"] = (("uint8",), (rows, -(-blocks * self.bits // 8)))
        for name, wanted in expected.items():
            _check_part(name, getattr(self, name), wanted)


def _check_part(name: str, found: TensorRef | None, wanted: tuple[tuple[str, ...], tuple[int, ...]] | None) -> None:
    if found is None or wanted is None:
        if (found is None) != (wanted is None):
            raise ValueError(f"the embedding's {name} are {'missing' if found is None else 'not expected'}")
        return
    dtypes, shape = wanted
    if found.dtype not in dtypes or found.shape != shape:
        raise ValueError(
            f"the embedding's {name} are {found.dtype} {list(found.shape)}; the other sizes need "
            f"{' or '.join(dtypes)} {list(shape)}"
        )
