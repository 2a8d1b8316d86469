"""Damage to the bytes of a media file, the same for the same seed."""

from __future__ import annotations

import numpy as np


def damaged(data: bytes, seed: int, *, header_bytes: int) -> bytes:
    """Flip bits, and cut, overwrite, remove or repeat bytes; odd seeds within the first `header_bytes` only."""
    rng = np.random.default_rng(seed)
    changed = bytearray(data)
    reach = min(len(data), header_bytes) if seed % 2 else len(data)
    for _ in range(int(rng.integers(1, 9))):
        changed[int(rng.integers(reach))] ^= 1 << int(rng.integers(8))
    action, start, length = seed % 5, int(rng.integers(reach)), int(rng.integers(1, 60))
    if action == 1:
        del changed[start:]
    elif action == 2:
        changed[start : start + 16] = rng.bytes(16)
    elif action == 3:
        del changed[start : start + length]
    elif action == 4:
        changed[start:start] = changed[:length]
    return bytes(changed)
