"""Low-rank adapters of the decoder: attach, switch, and store them in PEFT's layout.

y = W x + (alpha / rank) * B (A x)      W frozen | A [rank, in] | B [out, rank], zero at first
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from edgephi_nano.config import ADAPTER_TARGETS, AdapterConfig

_PREFIX = "base_model.model."


class AdaptedLinear(nn.Module):
    """A frozen linear without bias plus one low-rank adapter that can be switched off."""

    def __init__(self, base: nn.Linear, config: AdapterConfig) -> None:
        super().__init__()
        self.base, self.scale, self.enabled = base, config.alpha / config.rank, True
        base.weight.requires_grad_(False)
        self.lora_A = nn.Parameter(torch.empty(config.rank, base.in_features))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, config.rank))
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] to [..., out]."""
        out = self.base(x)
        if not self.enabled:
            return out
        return out + nn.functional.linear(nn.functional.linear(x, self.lora_A), self.lora_B) * self.scale


def attach(model: nn.Module, config: AdapterConfig) -> None:
    """Wrap every decoder linear of the model. In place; do it once."""
    names = [n for n, m in model.named_modules() if isinstance(m, nn.Linear) and re.fullmatch(ADAPTER_TARGETS, n)]
    if not names:
        raise ValueError("no decoder linear left to adapt; is an adapter attached already?")
    for name in names:
        parent, _, leaf = name.rpartition(".")
        owner = model.get_submodule(parent)
        setattr(owner, leaf, AdaptedLinear(getattr(owner, leaf), config))


def adapted(model: nn.Module) -> dict[str, AdaptedLinear]:
    """The wrapped linears by their checkpoint name."""
    return {n: m for n, m in model.named_modules() if isinstance(m, AdaptedLinear)}


def switch(model: nn.Module, *, on: bool) -> None:
    """Turn the attached adapter on or off."""
    for module in adapted(model).values():
        module.enabled = on


def adapter_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Everything an adapter trains."""
    return [p for module in adapted(model).values() for p in (module.lora_A, module.lora_B)]


def adapter_state(model: nn.Module) -> dict[str, Tensor]:
    """The adapter's tensors by PEFT's names."""
    state = {}
    for name, module in adapted(model).items():
        state[f"{_PREFIX}{name}.lora_A.weight"] = module.lora_A.detach().contiguous()
        state[f"{_PREFIX}{name}.lora_B.weight"] = module.lora_B.detach().contiguous()
    return state


@torch.no_grad()
def load_adapter_state(model: nn.Module, state: dict[str, Tensor]) -> None:
    """Fill the attached adapter; KeyError names the tensor that is missing."""
    for name, module in adapted(model).items():
        module.lora_A.copy_(state[f"{_PREFIX}{name}.lora_A.weight"])
        module.lora_B.copy_(state[f"{_PREFIX}{name}.lora_B.weight"])


def save_adapter(model: nn.Module, config: AdapterConfig, folder: Path) -> None:
    """Write adapter_model.safetensors and adapter_config.json, as PEFT reads them."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(adapter_state(model), folder / "adapter_model.safetensors", metadata={"format": "pt"})
    facts = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": config.rank,
        "lora_alpha": config.alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "inference_mode": True,
        "target_modules": ADAPTER_TARGETS,
    }
    (folder / "adapter_config.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def load_adapter(model: nn.Module, folder: Path) -> None:
    """Fill the attached adapter from a folder written by `save_adapter`."""
    load_adapter_state(model, load_file(folder / "adapter_model.safetensors"))
