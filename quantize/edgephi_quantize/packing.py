"""Codes to the bytes that ONNX Runtime's MatMulNBits reads.

The first code of a byte lies in its lowest bits.
`edgephi.decoder.dequantize` is the way back, which a device needs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def pack_codes(codes: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """Pack along the last axis.

    Args:
        codes: uint8 [..., bs], each below 2^bits; bs a multiple of 8 / bits.
        bits: 2, 4 or 8.

    Returns:
        uint8 [..., bs * bits / 8]; for 8 bits `codes` itself.

    Raises:
        ValueError: `bits` is another number, or the last axis does not fill whole bytes.
    """
    if bits not in (2, 4, 8):
        raise ValueError(f"cannot pack codes of {bits} bits")
    if codes.shape[-1] * bits % 8:
        raise ValueError(f"{codes.shape[-1]} codes of {bits} bits do not fill whole bytes")
    if bits == 8:
        return codes
    # Neighbouring codes are read as one little-endian word, shifted onto each other, and its lowest byte is kept.
    codes = np.ascontiguousarray(codes)
    words: NDArray[np.integer] = codes.view("<u2" if bits == 4 else "<u4")
    if bits == 2:
        words = words | words >> 12
        words |= words >> 6
    else:
        words = words | words >> 4
    return words.astype(np.uint8)


def pack_zero_points(zero_points: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """Pack the zero points of each row, which starts at a whole byte.

    What is left of a row's last byte is filled with 2^(bits-1), as ONNX Runtime's quantizer does.

    Args:
        zero_points: uint8 [..., kb], each below 2^bits.
        bits: 2, 4 or 8.

    Returns:
        uint8 [..., ceil(kb * bits / 8)].
    """
    num_blocks = zero_points.shape[-1]
    padded = np.full((*zero_points.shape[:-1], -(-num_blocks * bits // 8) * 8 // bits), 1 << (bits - 1), np.uint8)
    padded[..., :num_blocks] = zero_points
    return pack_codes(padded, bits)
