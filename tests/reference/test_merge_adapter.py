"""Merged adapters against PEFT's own `merge_and_unload`, matrix by matrix."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import Phi3ForCausalLM

from edgephi_export.checkpoint.checkpoint import open_checkpoint
from edgephi_export.checkpoint.peft_adapter import Adapter
from edgephi_export.checkpoint.selection import choose
from support.adapters import AdapterSpec, decoder_shapes, write_adapter
from support.bundles import small_checkpoint
from support.sizes import SMALL

pytestmark = [pytest.mark.reference, pytest.mark.filterwarnings("default")]

ALL = decoder_shapes(SMALL)
DOWN, UP = "model.layers.1.mlp.down_proj", "model.layers.0.mlp.gate_up_proj"
SPECS = {
    "lora": AdapterSpec(shapes=ALL),
    "rslora": AdapterSpec(shapes=ALL, rank=5, alpha=3.0, settings={"use_rslora": True}),
    "dora": AdapterSpec(shapes=ALL, settings={"use_dora": True}),
    "dora and rslora": AdapterSpec(shapes=ALL, rank=3, settings={"use_dora": True, "use_rslora": True}),
    "patterns": AdapterSpec(shapes=ALL, ranks={DOWN: 2, UP: 9}, alphas={UP: 1.5}),
    "fan_in_fan_out": AdapterSpec(shapes=ALL, settings={"fan_in_fan_out": True}),
    "short patterns": AdapterSpec(
        shapes=ALL,
        ranks={name: 6 for name in ALL if "mlp" in name},
        alphas={name: 24.0 for name in ALL if name.startswith("model.layers.1.")},
        settings={"rank_pattern": {r"mlp\.\w+": 6}, "alpha_pattern": {r"layers\.1\..*": 24.0}},
    ),
}


@pytest.mark.parametrize("name", SPECS)
@torch.inference_mode()
def test_merged_matrices_are_pefts(tmp_path: Path, name: str):
    folder, adapter = small_checkpoint("phi3").path, write_adapter(tmp_path / "adapter", SPECS[name])
    base = Phi3ForCausalLM.from_pretrained(folder, dtype=torch.float32)
    merged = PeftModel.from_pretrained(base, adapter).merge_and_unload().state_dict()
    found = open_checkpoint(folder, choose(None, None, ("text",)), Adapter.load(adapter, "a")).weights
    for tensor in found.shapes:
        np.testing.assert_allclose(found.read(tensor), merged[f"model.{tensor}"].numpy(), atol=2e-6, err_msg=tensor)


WRITTEN = {
    "all linears": {"target_modules": "all-linear"},
    "dora": {"target_modules": ["qkv_proj", "down_proj"], "use_dora": True, "use_rslora": True},
    "one layer": {"target_modules": ["o_proj"], "rank_pattern": {"o_proj": 3}, "layers_to_transform": [1]},
}


@pytest.mark.parametrize("name", WRITTEN)
def test_adapters_that_peft_wrote_are_merged_as_peft_does(tmp_path: Path, name: str):
    folder = small_checkpoint("phi3").path
    torch.manual_seed(0)
    config = LoraConfig(r=4, lora_alpha=9, task_type="CAUSAL_LM", **WRITTEN[name])
    model = get_peft_model(Phi3ForCausalLM.from_pretrained(folder, dtype=torch.float32), config)
    for parameter, value in model.named_parameters():
        if "lora_" in parameter:
            torch.nn.init.normal_(value, 0, 0.1)
    model.save_pretrained(tmp_path)
    merged = model.merge_and_unload().state_dict()
    found = open_checkpoint(folder, choose(None, None, ("text",)), Adapter.load(tmp_path, "a")).weights
    for tensor in found.shapes:
        np.testing.assert_allclose(found.read(tensor), merged[f"model.{tensor}"].numpy(), atol=3e-6, err_msg=tensor)
