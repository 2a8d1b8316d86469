"""The forms a weight can be stored in.

Each has a text form, used by `--override`, `edgephi.json` and `tensors.json`.

    float32 | float16               as they are
    int4:32   int4:32:symmetric     blocks of 32 weights along the input axis share one scale; 2, 4 or 8 bits
    int8:rows                       a byte each, one scale per output row; activations are quantized per row at run time
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgephi.base.errors import ConfigError

#: What ONNX Runtime's MatMulNBits computes with.
BITS = (2, 4, 8)
BLOCK_SIZES = (16, 32, 64, 128, 256)
FLOAT_TYPES = ("float32", "float16")

_KNOWN = (
    "use float32, float16, int8:rows, or int2, int4 or int8 with a block size of 16, 32, 64, 128 or 256"
    " and perhaps ':symmetric', such as int4:32 or int4:128:symmetric"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FloatFormat:
    """Values as they are, in one of two widths."""

    dtype: Literal["float32", "float16"]

    def __post_init__(self) -> None:
        if self.dtype not in FLOAT_TYPES:
            raise ConfigError(f"float format {self.dtype!r}; use {' or '.join(FLOAT_TYPES)}")

    def __str__(self) -> str:
        return self.dtype


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockFormat:
    """`(code - zero_point) * scale`, scale and zero point shared by a block of weights along the input axis.

    Attributes:
        bits: Width of a code: 2, 4 or 8.
        block_size: Weights in a block: 16, 32, 64, 128 or 256. The last block of a row may be shorter.
        symmetric: The zero point is 2^(bits-1) everywhere and not stored.
    """

    bits: int
    block_size: int
    symmetric: bool = False

    def __post_init__(self) -> None:
        if self.bits not in BITS:
            raise ConfigError(f"a block format of {self.bits} bits; use 2, 4 or 8")
        if self.block_size not in BLOCK_SIZES:
            raise ConfigError(f"a block format with blocks of {self.block_size}; use 16, 32, 64, 128 or 256")

    def __str__(self) -> str:
        return f"int{self.bits}:{self.block_size}" + (":symmetric" if self.symmetric else "")

    @property
    def max_code(self) -> int:
        """The largest code; the smallest is 0."""
        return (1 << self.bits) - 1

    def num_blocks(self, size: int) -> int:
        """Blocks in a row of `size` weights."""
        return -(-size // self.block_size)


@dataclass(frozen=True, slots=True, kw_only=True)
class RowFormat:
    """A byte each, symmetric, one scale per output row; activations are quantized per row at run time."""

    def __str__(self) -> str:
        return "int8:rows"


Format = FloatFormat | BlockFormat | RowFormat


def parse_format(text: str) -> Format:
    """The format that `text` names; `str` of it gives `text` back.

    Raises:
        ConfigError: No format has that name.
    """
    if text in FLOAT_TYPES:
        return FloatFormat(dtype="float16" if text == "float16" else "float32")
    if text == str(RowFormat()):
        return RowFormat()
    for bits in BITS:
        for block_size in BLOCK_SIZES:
            for symmetric in (False, True):
                known = BlockFormat(bits=bits, block_size=block_size, symmetric=symmetric)
                if text == str(known):
                    return known
    raise ConfigError(f"unknown format {text!r}; {_KNOWN}")
