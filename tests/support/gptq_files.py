"""Quantizes a small Phi-4-mini checkpoint as GPTQ's tools store it, written from the format's description.

A word of 32 bits holds eight codes, the first in its lowest bits: codes along the inputs, zero points along the
outputs. Format gptq stores zero points less one, gptq_v2 as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from support.checkpoints import write_checkpoint
from support.sizes import SMALL
from support.tensor_files import change_json, change_tensors

#: Whole groups of 128 in every linear.
SIZES = replace(SMALL, hidden=256, heads=4)


@dataclass(frozen=True, slots=True)
class Coded:
    """One linear: codes [inputs, outputs], scales and zero points [groups, outputs]."""

    codes: NDArray[np.uint8]
    scales: NDArray[np.float16]
    zero_points: NDArray[np.uint8]

    @property
    def values(self) -> NDArray[np.float32]:
        """The matrix [outputs, inputs] that they stand for."""
        size = len(self.codes) // len(self.scales)
        zero_points, scales = (np.repeat(part, size, axis=0) for part in (self.zero_points, self.scales))
        weights = (self.codes.astype(np.float32) - zero_points) * scales.astype(np.float32)
        return np.ascontiguousarray(weights.T)


def write_gptq(
    folder: Path, *, group_size: int = 32, sym: bool = False, v2: bool = False, linears: str = "_proj.weight"
) -> dict[str, Coded]:
    """Write a checkpoint whose linears, those with `linears` in their names, are random codes.

    Returns:
        The codes by canonical name.
    """
    write_checkpoint(folder, "phi3", sizes=SIZES)
    random = np.random.default_rng(7)
    found = {}

    def change(tensors: dict[str, Any]) -> None:
        for name in [name for name in tensors if linears in name and "_proj" in name]:
            outputs, inputs = tensors.pop(name).shape
            coded = _drawn(random, inputs, outputs, group_size, sym=sym)
            stem = name.removesuffix("weight")
            found[name.removeprefix("model.").removesuffix(".weight")] = coded
            stored = coded.zero_points if v2 else coded.zero_points - 1
            tensors[f"{stem}qweight"] = packed(coded.codes)
            tensors[f"{stem}qzeros"] = np.ascontiguousarray(packed(stored.T).T)
            tensors[f"{stem}scales"] = coded.scales
            tensors[f"{stem}g_idx"] = np.arange(inputs, dtype=np.int32) // group_size

    change_tensors(folder / "model.safetensors", change)
    set_quantization(folder, group_size=group_size, sym=sym, checkpoint_format="gptq_v2" if v2 else "gptq")
    return found


def set_quantization(folder: Path, **values: Any) -> None:
    """Change what config.json says of the codes."""
    plain = {"quant_method": "gptq", "bits": 4, "group_size": 32, "desc_act": False, "lm_head": False}
    change_json(
        folder / "config.json",
        lambda c: c.update(quantization_config={**c.get("quantization_config", plain), **values}),
    )


def packed(codes: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Words of eight codes along the first axis."""
    rows, columns = codes.shape
    words = np.zeros((rows // 8, columns), np.uint64)
    for place in range(8):
        words += codes[place::8].astype(np.uint64) * np.uint64(16**place)
    return words.astype(np.uint32).view(np.int32)


def _drawn(random: np.random.Generator, inputs: int, outputs: int, group_size: int, *, sym: bool) -> Coded:
    groups = (inputs // group_size, outputs)
    zero_points = np.full(groups, 8) if sym else random.integers(1, 16, groups)
    return Coded(
        codes=random.integers(0, 16, (inputs, outputs)).astype(np.uint8),
        scales=random.uniform(0.001, 0.02, groups).astype(np.float16),
        zero_points=zero_points.astype(np.uint8),
    )
