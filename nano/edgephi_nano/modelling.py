"""The checkpoint's own model class, initialized so that it can be trained from nothing."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn
from transformers import Phi4MultimodalConfig, Phi4MultimodalForCausalLM

from edgephi_nano.config import model_config


def new_model(seed: int = 0) -> Phi4MultimodalForCausalLM:
    """The whole model at float32, every part initialized for training, attention of the image tower eager."""
    torch.manual_seed(seed)
    config = Phi4MultimodalConfig(**model_config())
    config._attn_implementation = "sdpa"
    model = Phi4MultimodalForCausalLM(config).float()
    initialize(model)
    model.tie_weights()
    return model


def initialize(model: nn.Module) -> None:
    """Kaiming for convolutions, Xavier for linears with bias, scaled normal for the decoder. In place.

    The class's own initialization lets the audio signal vanish and the image tower explode.
    """
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            shrink = 1 / math.sqrt(8) if name.endswith(("o_proj", "down_proj")) else 1.0
            nn.init.normal_(module.weight, std=shrink / math.sqrt(module.in_features))
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.05)


def language_state(model: Phi4MultimodalForCausalLM) -> dict[str, torch.Tensor]:
    """The decoder's own tensors: embedding, layers and last norm, by their checkpoint names."""
    state = model.state_dict()
    return {
        name: state[name] for name in state if name.startswith(("model.embed_tokens.", "model.layers.", "model.norm."))
    }


def load_language(model: Phi4MultimodalForCausalLM, path: Path) -> None:
    """Fill the decoder from a file written by `train_language`, and freeze it."""
    state = load_file(path)
    missing = set(language_state(model)) - state.keys()
    if missing:
        raise ValueError(f"{path} lacks {sorted(missing)[0]}")
    model.load_state_dict(state, strict=False)
    for name, parameter in model.named_parameters():
        if name in state or name == "lm_head.weight":
            parameter.requires_grad_(False)
