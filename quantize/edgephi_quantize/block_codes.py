"""A matrix after quantization and before packing: one byte per code.

N output rows, K weights in a row, bs weights in a block, kb = ceil(K / bs) blocks in a row
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BlockCodes:
    """Codes, scales and zero points; a weight is `(code - zero_point) * scale`.

    Attributes:
        codes: uint8 [N, kb, bs], each below 2^bits. Places past K hold 0, as ONNX Runtime's quantizer leaves them.
        scales: float32 [N, kb]. Negative ones occur when symmetric.
        zero_points: uint8 [N, kb], each below 2^bits; 2^(bits-1) everywhere when symmetric.
    """

    codes: NDArray[np.uint8]
    scales: NDArray[np.float32]
    zero_points: NDArray[np.uint8]

    def values(self, size: int) -> NDArray[np.float32]:
        """The weights these codes stand for: float32 [N, size]; `size` is K, without the padding."""
        values = self.codes.astype(np.float32)
        values -= self.zero_points[..., None]
        values *= self.scales[..., None]
        return values.reshape(len(values), -1)[:, :size]
