"""The recorded answers of PyTorch transformers, and the measure of agreement with them.

They are in tests/golden; `tests/reference/record.py` writes them.

    logits.npz    NAME/last float32 [V], NAME/rows float32 [8, V] at `kept_rows`, NAME/count: rows of the whole prompt
    crossing.npz  prompt_count, reply int64 [8], logits float32 [8, V] that chose each token of the reply
    mel.npz       RATE/frames float32 [n, 80]: every `MEL_STRIDE`-th frame of the 16 and 8 kHz recordings, RATE/count
    positions.npz P{side} int16 [side, side * side]: the image tower's position ids with k rows and k columns used
    weights.npz   names, sums: crc32 of the small checkpoint's tensors
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgephi_bench.synthetic.sizes import Sizes
from support.weights import adapter_weights, decoder_weights, speech_weights, vision_weights

GOLDEN_DIR = Path(__file__).parent.parent / "golden"
#: Largest difference from the reference, in standard deviations of the row's logits.
TOLERANCE = 2e-3
MEL_STRIDE = 4
MEL_RATES_HZ = (16000, 8000)


def load(name: str) -> dict[str, NDArray[np.generic]]:
    """All arrays of one golden file."""
    with np.load(GOLDEN_DIR / f"{name}.npz") as archive:
        return {key: archive[key] for key in archive.files}


def distance(found: NDArray[np.float32], wanted: NDArray[np.float32]) -> float:
    """Largest difference of any logit, in standard deviations of its row.

    Args:
        found: float32 [V] or [R, V].
        wanted: The same shape.
    """
    if found.shape != wanted.shape:
        raise ValueError(f"found logits of shape {found.shape}, wanted {wanted.shape}")
    difference = np.abs(found.astype(np.float64) - wanted)
    return float((difference / wanted.std(axis=-1, keepdims=True)).max())


def weight_sums(sizes: Sizes, seed: int) -> dict[str, int]:
    """crc32 of every tensor of the small checkpoint; the golden answers belong to exactly these weights."""
    tensors = decoder_weights(sizes, seed) | vision_weights(sizes, seed) | speech_weights(sizes, seed)
    for adapter in ("vision", "speech"):
        for name, (a, b) in adapter_weights(sizes, seed, adapter).items():
            tensors |= {f"{name}.lora_A.{adapter}": a, f"{name}.lora_B.{adapter}": b}
    return {name: zlib.crc32(tensor.tobytes()) for name, tensor in tensors.items()}
