"""Bytes with one scale per output row.

At run time the activations are quantized per row too. Exports quantize with it, and devices that derive weights.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgephi.base.errors import ArtifactError

#: Codes meet uint8 activations in pairs. On x86 without VNNI a pair's sum saturates at 32767 without a word, so codes
#: stay where it cannot: 2 * 255 * 64 = 32640.
_MAX_CODE = np.float32(64)
_TILE_ROWS = 16  # keeps the temporary in a core's cache


def quantize_rows(weights: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Quantize symmetrically; a weight is `code * scale` of its row.

    Args:
        weights: float32 [N, K], finite. Not modified.

    Returns:
        Codes int8 [N, K] in -64..64, and scales float32 [N]; a row of zeros has scale 0.

    Raises:
        ArtifactError: A weight is infinite or not a number.
        ValueError: `weights` is not a matrix of float32.
    """
    if weights.ndim != 2 or weights.dtype != np.float32:
        raise ValueError(f"weights are {weights.dtype} {list(weights.shape)}; they must be float32 [N, K]")
    scales = np.maximum(weights.max(axis=1, initial=0.0), -weights.min(axis=1, initial=0.0))
    if not np.isfinite(scales).all():
        raise ArtifactError("a weight is infinite or not a number; the checkpoint is damaged: fetch it again")
    scales /= _MAX_CODE
    divisors = np.where(scales > 0, scales, np.float32(1))
    codes = np.empty(weights.shape, np.int8)
    for start in range(0, len(weights), _TILE_ROWS):
        rows = slice(start, start + _TILE_ROWS)
        steps = weights[rows] / divisors[rows, None]
        np.rint(steps, out=steps)
        # A subnormal scale is so coarse that steps may pass 64.
        np.minimum(steps, _MAX_CODE, out=steps)
        np.maximum(steps, -_MAX_CODE, out=steps)
        np.copyto(codes[rows], steps, casting="unsafe")
    return codes, scales
