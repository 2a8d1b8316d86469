"""How the CPU's kernels round the inputs of a matrix in codes: what a format costs besides the rounding of its weights.

MatMulNBits with accuracy level 4 has one scale for the inputs of each block, MatMulIntegerToFloat one for each row;
both round to 8 bits, symmetric.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgephi_quantize.formats import BlockFormat, FloatFormat, Format

_MOST = np.float32(127)


def rounded_inputs(rows: NDArray[np.float32], format_: Format | None) -> NDArray[np.float32]:
    """float32 [S, K] as a matrix in this format reads them; as they are for floats and for None."""
    if format_ is None or isinstance(format_, FloatFormat):
        return rows
    size = format_.block_size if isinstance(format_, BlockFormat) else rows.shape[1]
    padded = np.pad(rows, ((0, 0), (0, -rows.shape[1] % size))).reshape(len(rows), -1, size)
    steps = np.abs(padded).max(axis=-1, keepdims=True) / _MOST
    codes = np.rint(np.divide(padded, steps, out=np.zeros_like(padded), where=steps > 0))
    result: NDArray[np.float32] = (codes * steps).reshape(len(rows), -1)[:, : rows.shape[1]]
    return result
