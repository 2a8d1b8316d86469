"""Optimizers and schedules shared by the training stages."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn


def scale_at(part: float, warmup: float, floor: float = 0.02) -> float:
    """Learning-rate factor at `part` (0..1) of a stage: linear warm-up, cosine decay to `floor`."""
    if part < warmup:
        return max(part / warmup, 0.02)
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, (part - warmup) / (1 - warmup))))


def _is_in_block(name: str) -> bool:
    return ".layers." in name or "encoders." in name


class Optimizers:
    """AdamW for everything that is trained, or Muon for the matrices of blocks and AdamW for the rest."""

    def __init__(self, model: nn.Module, rate: float, matrix_rate: float | None = None) -> None:
        trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        matrices = [p for name, p in trained if matrix_rate and p.ndim == 2 and _is_in_block(name)]
        chosen = {id(p) for p in matrices}
        others = [p for _, p in trained if id(p) not in chosen]
        self.parameters = [p for _, p in trained]
        self.members: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.98), weight_decay=0.0)
        ]
        if matrix_rate and matrices:
            self.members.append(
                torch.optim.Muon(matrices, lr=matrix_rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
            )
        self.peaks = [rate, matrix_rate or rate]

    def step(self, scale: float) -> None:
        """Clip, update with rates times `scale`, and clear the gradients."""
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for optimizer, peak in zip(self.members, self.peaks, strict=False):
            for group in optimizer.param_groups:
                group["lr"] = peak * scale
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def state(self) -> list[dict[str, Any]]:
        """What `load` needs to continue."""
        return [optimizer.state_dict() for optimizer in self.members]

    def load(self, states: list[dict[str, Any]]) -> None:
        """Continue from `state()`."""
        for optimizer, state in zip(self.members, states, strict=True):
            optimizer.load_state_dict(state)
