"""What the installed releases of transformers and safetensors write is read as what it is."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import transformers
from safetensors.torch import save_model

from edgephi import Model
from edgephi_export import ExportOptions, export
from support.bundles import small_bundle, small_checkpoint
from support.checkpoints import Layout

pytestmark = [pytest.mark.reference, pytest.mark.filterwarnings("default")]

MODELS: dict[Layout, str] = {"phi3": "Phi3ForCausalLM", "native": "Phi4MultimodalForCausalLM"}
IDS = (np.arange(40) * 7) % 300


def _resaved(layout: Layout, folder: Path, *, shard: str) -> Path:
    source = small_checkpoint(layout).path
    getattr(transformers, MODELS[layout]).from_pretrained(source).save_pretrained(folder, max_shard_size=shard)
    transformers.AutoTokenizer.from_pretrained(source).save_pretrained(folder)
    for name in ("vision-lora", "speech-lora") if layout == "native" else ():
        shutil.copytree(source / name, folder / name)
    return folder


def _check_same(layout: Layout, folder: Path, tmp_path: Path) -> None:
    with (
        Model.load(export(folder, tmp_path / "out", ExportOptions(recipe="fp32"))) as found,
        Model.load(small_bundle(layout)) as wanted,
    ):
        np.testing.assert_array_equal(found.logits(IDS, rows="all"), wanted.logits(IDS, rows="all"))
        assert found.generate("Turn on the lamp").token_ids == wanted.generate("Turn on the lamp").token_ids


@pytest.mark.parametrize("shard", ["1GB", "300KB"])
@pytest.mark.parametrize("layout", MODELS)
def test_save_pretrained(tmp_path: Path, layout: Layout, shard: str):
    _check_same(layout, _resaved(layout, tmp_path / "saved", shard=shard), tmp_path)


def test_save_model_of_safetensors_which_keeps_one_name_of_the_tied_table(tmp_path: Path):
    folder = _resaved("phi3", tmp_path / "saved", shard="1GB")
    model = transformers.Phi3ForCausalLM.from_pretrained(folder)
    save_model(model, str(folder / "model.safetensors"))
    _check_same("phi3", folder, tmp_path)


def test_the_model_without_its_head(tmp_path: Path):
    """`Phi3Model.save_pretrained`, whose names lack `model.`."""
    folder = _resaved("phi3", tmp_path / "saved", shard="1GB")
    transformers.Phi3Model.from_pretrained(folder).save_pretrained(folder)
    _check_same("phi3", folder, tmp_path)
