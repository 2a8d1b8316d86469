"""Block-quantized rows back to floats, such as rows of the embedding table, which are the output head's constants.

value = (code - zero_point) * scale       code and zero point 2, 4 or 8 bits; the first code in the lowest bits
kb blocks of bs weights make a row of K; the last block may be padded
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def unpack_codes(packed: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """Spread packed codes, one to a byte.

    Args:
        packed: uint8 [..., m].
        bits: 2, 4 or 8.

    Returns:
        uint8 [..., m * 8 / bits]; for 8 bits `packed` itself.

    Raises:
        ValueError: `bits` is another number.
    """
    if bits == 8:
        return packed
    # Every byte widens to a word whose bytes each take their code by a shift.
    if bits == 4:
        pairs = packed.astype("<u2", order="C")
        pairs |= pairs << 4
        pairs &= 0x0F0F
        return pairs.view(np.uint8)
    if bits == 2:
        words = packed.astype("<u4", order="C")
        words |= words << 12
        words |= words << 6
        words &= 0x03030303
        return words.view(np.uint8)
    raise ValueError(f"cannot unpack codes of {bits} bits")


def unpack_zero_points(packed: NDArray[np.uint8], bits: int, num_blocks: int) -> NDArray[np.uint8]:
    """Spread the packed zero points of rows.

    Args:
        packed: uint8 [..., ceil(num_blocks * bits / 8)].
        bits: 2, 4 or 8.
        num_blocks: kb, blocks in a row.

    Returns:
        uint8 [..., num_blocks].
    """
    return unpack_codes(packed, bits)[..., :num_blocks]


def dequantize(
    packed: NDArray[np.uint8],
    scales: NDArray[np.floating],
    zero_points: NDArray[np.uint8] | None,
    *,
    bits: int,
    size: int,
) -> NDArray[np.float32]:
    """The values of rows.

    Args:
        packed: uint8 [..., kb, bs * bits / 8], codes.
        scales: float16 or float32 [..., kb].
        zero_points: uint8 [..., ceil(kb * bits / 8)], packed; None stands for 2^(bits-1) everywhere.
        bits: 2, 4 or 8.
        size: K, values in a row; the padding of the last block is cut off.

    Returns:
        float32 [..., size].
    """
    values = unpack_codes(packed, bits).astype(np.float32)
    if zero_points is None:
        values -= np.float32(1 << (bits - 1))
    else:
        values -= unpack_zero_points(zero_points, bits, scales.shape[-1])[..., None]
    values *= scales[..., None]
    return values.reshape(*values.shape[:-2], -1)[..., :size]
