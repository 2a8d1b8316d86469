"""What a decoder layer computes between its matrices, in NumPy and float32, for one sequence from its start."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edgephi.bundle.manifest import RopeInfo
from edgephi.decoder.rope import RotaryTables
from edgephi_export.checkpoint.config import DecoderConfig

Floats = NDArray[np.float32]
_QUERIES = 512  # whose scores are held at a time


def rms_norm(rows: Floats, weight: Floats, epsilon: float) -> Floats:
    """RMSNorm of float32 [S, H]."""
    squares = np.mean(rows * rows, axis=-1, keepdims=True)
    normed: Floats = (rows / np.sqrt(squares + np.float32(epsilon))).astype(np.float32, copy=False)
    normed *= weight
    return normed


def gated(halves: Floats) -> Floats:
    """`swish(gate) * up` of [S, 2 I], gate first: float32 [S, I]."""
    gate, up = np.split(halves, 2, axis=-1)
    with np.errstate(over="ignore"):  # exp of a large negative gate: its swish is 0
        result: Floats = gate / (1 + np.exp(-gate))
    result *= up
    return result


class CausalAttention:
    """Attention of every position to itself and those before it, as the decoder computes it.

    Args:
        config: Heads.
        rope: Rotary positions.
    """

    def __init__(self, config: DecoderConfig, rope: RopeInfo) -> None:
        self._config, self._rope = config, rope

    def __call__(self, qkv: Floats) -> Floats:
        """Queries, keys and values, float32 [S, (H_q + 2 H_kv) D], to float32 [S, H_q D]."""
        config, count = self._config, len(qkv)
        heads, kv_heads = config.num_heads, config.num_kv_heads
        split = qkv.reshape(count, -1, config.head_size).transpose(1, 0, 2)
        tables = RotaryTables(self._rope, "float32")
        tables.prepare(count)
        queries, keys = (_rotated(part, tables) for part in (split[:heads], split[heads : heads + kv_heads]))
        values = split[heads + kv_heads :]
        attended = np.empty((count, heads, config.head_size), np.float32)
        for head in range(heads):
            group = head * kv_heads // heads
            for start in range(0, count, _QUERIES):
                part = queries[head, start : start + _QUERIES]
                stop = start + len(part)
                scores = part @ keys[group, :stop].T * np.float32(1 / math.sqrt(config.head_size))
                scores[:, start:][~np.tri(len(part), dtype=bool)] = -np.inf
                scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
                scores /= scores.sum(axis=-1, keepdims=True)
                attended[start:stop, head] = scores @ values[group, :stop]
        return attended.reshape(count, -1)


def _rotated(heads: Floats, tables: RotaryTables) -> Floats:
    """The leading channels of [heads, S, D] turned by each row's position."""
    count, half = heads.shape[1], tables.cos.shape[1]
    cos, sin = tables.cos[:count], tables.sin[:count]
    one, two, rest = heads[..., :half], heads[..., half : 2 * half], heads[..., 2 * half :]
    return np.concatenate([one * cos - two * sin, two * cos + one * sin, rest], axis=-1)
