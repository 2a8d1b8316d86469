"""A checkpoint that any release of transformers saved again must be the same model as before.

tests/assets/saved holds what transformers 4.57.6 and 5.24.0 wrote beside the weights of the small checkpoints; see
tests/reference/save_by_transformers.py.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from edgephi import Model
from edgephi.bundle.bundle import Bundle
from edgephi_export import ExportOptions, export
from edgephi_export.checkpoint.safetensors_file import read_header
from support.bundles import small_bundle, small_checkpoint
from support.checkpoints import Layout

SAVED = Path(__file__).resolve().parents[2] / "assets" / "saved"
RELEASES = ("transformers-4.57.6", "transformers-5.24.0")


def resaved(layout: Layout, release: str, folder: Path) -> Path:
    """The small checkpoint's weights beside what a release wrote for them; adapters stay, as users copy them over."""
    source = small_checkpoint(layout).path
    folder.mkdir()
    for path in source.iterdir():
        if path.is_dir():
            shutil.copytree(path, folder / path.name)
    shutil.copy(source / "model.safetensors", folder)
    for path in (SAVED / release / layout).iterdir():
        if path.name != "tensors.json":
            shutil.copy(path, folder)
    return folder


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("layout", ["phi3", "native"])
def test_a_checkpoint_that_was_saved_again_is_the_same_model(tmp_path: Path, layout: Layout, release: str):
    found = Bundle(export(resaved(layout, release, tmp_path / "saved"), tmp_path / "out", ExportOptions(recipe="fp32")))
    wanted = Bundle(small_bundle(layout))
    for part in ("rope", "tokens", "adapters", "decoder", "vision", "speech", "generation"):
        assert getattr(found.manifest, part) == getattr(wanted.manifest, part), part
    hashes = {info.path: info.sha256 for info in found.manifest.files}
    same = {info.path for info in wanted.manifest.files if hashes[info.path] == info.sha256}
    assert hashes.keys() - same <= {"tokenizer.json"}
    ids = (np.arange(4200) * 13) % 300
    with Model.load(found.path) as saved, Model.load(wanted.path) as plain:
        np.testing.assert_array_equal(saved.logits(ids), plain.logits(ids))
        messages = [{"role": "user", "content": "Turn on the kitchen lamp"}]
        assert saved.generate(messages).token_ids == plain.generate(messages).token_ids


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("layout", ["phi3", "native"])
def test_every_release_stores_the_tensors_that_the_tests_write(layout: Layout, release: str):
    recorded = json.loads((SAVED / release / layout / "tensors.json").read_text())["model.safetensors"]
    header = read_header(small_checkpoint(layout).path / "model.safetensors")
    assert recorded == {name: list(tensor.shape) for name, tensor in header.items()}
