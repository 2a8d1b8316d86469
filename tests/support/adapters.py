"""Small random PEFT adapters, written without torch, and what merging them gives, computed the long way in float64."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from support.random_values import spread

Array = NDArray[Any]
#: What PEFT 0.21.2 writes as null.
_UNSET = (
    "alora_invocation_tokens", "arrow_config", "auto_mapping", "corda_config", "eva_config", "exclude_modules",
    "kasa_config", "layer_replication", "layers_pattern", "layers_to_transform", "lora_ga_config", "megatron_config",
    "monteclora_config", "revision", "target_parameters", "trainable_token_indices", "use_bdlora", "velora_config",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class AdapterSpec:
    """One adapter.

    Attributes:
        shapes: Of each module's matrix (outputs, inputs), by the module's name in the base.
        rank: Of every module that `ranks` does not name.
        alpha: Of every module that `alphas` does not name.
        ranks: Ranks by module.
        alphas: Alphas by module.
        settings: More of adapter_config.json.
    """

    shapes: dict[str, tuple[int, int]]
    rank: int = 4
    alpha: float = 8
    ranks: dict[str, int] = field(default_factory=dict)
    alphas: dict[str, float] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def uses_dora(self) -> bool:
        """Whether rows have trained lengths."""
        return bool(self.settings.get("use_dora"))

    def matrices(self, module: str) -> tuple[Array, Array]:
        """A [rank, inputs] and B [outputs, rank]."""
        outputs, inputs = self.shapes[module]
        rank = self.ranks.get(module, self.rank)
        return (
            spread(f"{module}.A", 1, (rank, inputs), inputs**-0.5),
            spread(f"{module}.B", 1, (outputs, rank), 0.1),
        )

    def magnitude(self, module: str) -> Array:
        """DoRA's lengths [outputs]."""
        return np.abs(spread(f"{module}.m", 1, (self.shapes[module][0],), 1.0)) + np.float32(0.1)

    def merged(self, module: str, base: Array) -> Array:
        """The matrix that PEFT's `merge_and_unload` would leave, float64 [outputs, inputs]."""
        a, b = (matrix.astype(np.float64) for matrix in self.matrices(module))
        rank, alpha = len(a), self.alphas.get(module, self.alpha)
        scale = alpha / math.sqrt(rank) if self.settings.get("use_rslora") else alpha / rank
        result: Array = base + scale * np.einsum("or,ri->oi", b, a)
        if self.uses_dora:
            result = result / np.sqrt((result**2).sum(1, keepdims=True)) * self.magnitude(module)[:, None]
        return result


def write_adapter(folder: Path, spec: AdapterSpec) -> Path:
    """Write adapter_config.json and adapter_model.safetensors into `folder`, which is made if missing."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        **dict.fromkeys(_UNSET), "ensure_weight_tying": False, "loftq_config": {}, "lora_bias": False,
        "megatron_core": "megatron.core", "peft_version": "0.21.2", "qalora_group_size": 16, "use_qalora": False,
        "base_model_name_or_path": "microsoft/Phi-4-mini-instruct", "bias": "none", "fan_in_fan_out": False,
        "inference_mode": True, "init_lora_weights": True, "lora_alpha": spec.alpha, "lora_dropout": 0.05,
        "modules_to_save": None, "peft_type": "LORA", "r": spec.rank, "rank_pattern": spec.ranks,
        "alpha_pattern": spec.alphas, "target_modules": sorted({name.rsplit(".", 1)[1] for name in spec.shapes}),
        "task_type": "CAUSAL_LM", "use_dora": False, "use_rslora": False, **spec.settings,
    }  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    tensors = {}
    for module in spec.shapes:
        a, b = spec.matrices(module)
        prefix = f"base_model.model.{module}"
        tensors |= {f"{prefix}.lora_A.weight": a, f"{prefix}.lora_B.weight": b}
        if spec.uses_dora:
            tensors[f"{prefix}.lora_magnitude_vector"] = spec.magnitude(module)
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder


def decoder_shapes(sizes: Any) -> dict[str, tuple[int, int]]:
    """The packed linears of every layer of a small decoder (`support.sizes.Sizes`)."""
    return {
        f"model.layers.{layer}.{name}": shape
        for layer in range(sizes.layers)
        for name, shape in {
            "self_attn.qkv_proj": (sizes.qkv, sizes.hidden),
            "self_attn.o_proj": (sizes.hidden, sizes.heads * sizes.head_size),
            "mlp.gate_up_proj": (2 * sizes.intermediate, sizes.hidden),
            "mlp.down_proj": (sizes.hidden, sizes.intermediate),
        }.items()
    }
