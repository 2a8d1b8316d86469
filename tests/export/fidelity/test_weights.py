"""`verify --reference` must pass what an export made and catch what it did not."""

from __future__ import annotations

import functools
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from edgephi.base.errors import ArtifactError
from edgephi.bundle.bundle import Bundle
from edgephi.inspection.comparison import ComparisonReport, TensorComparison
from edgephi_export import ExportOptions, export
from edgephi_export.fidelity.weights import compare_with_checkpoint
from support.bundles import copy_bundle, described, put, small_bundle, small_checkpoint
from support.checkpoints import Layout


def _compare(bundle: Path, layout: Layout = "native", seed: int = 0) -> ComparisonReport:
    return compare_with_checkpoint(bundle, str(small_checkpoint(layout, seed).path), lambda done, total: None)


def _by_name(report: ComparisonReport) -> dict[str, TensorComparison]:
    return {tensor.name: tensor for tensor in report.tensors}


@pytest.mark.parametrize("adapters", [None, "speech", "vision", "none"])
@pytest.mark.parametrize("recipe", ["fp32", "int8", "int4", "int4-fast", "fp16", "int4-gpu"])
def test_every_export_passes_against_its_own_checkpoint(recipe: str, adapters: str | None):
    bundle = small_bundle("native", adapters, None, recipe)
    report = _compare(bundle)
    assert len(report.tensors) == len(Bundle(bundle).tensor_index().tensors)
    assert all(tensor.ok for tensor in report.tensors)
    assert all(math.isinf(tensor.sqnr_db) for tensor in report.tensors if tensor.format == "float32")


def test_decibels_are_those_of_the_format():
    """Uniform weights, so 6 dB a bit: a floor or a decoder that were off by a bit would show."""
    limits = {"int4:32": (18, 30), "int8:32": (40, 55), "int8:rows": (38, 46), "float32": (math.inf, math.inf)}
    for tensor in _compare(small_bundle("native", None, None, "int4")).tensors:
        low, high = limits[tensor.format]
        assert low <= tensor.sqnr_db <= high, tensor


def test_the_other_layout_of_the_same_model_is_the_same_model():
    assert all(tensor.ok for tensor in _compare(small_bundle("native", None, None, "int4"), "original").tensors)


@pytest.mark.parametrize("recipe", ["fp32", "int8", "int4"])
def test_another_checkpoint_of_the_same_shapes_is_caught(recipe: str):
    matrices = [t for t in _compare(small_bundle("native", None, None, recipe), seed=1).tensors if len(t.name) > 20]
    assert matrices
    assert not any(tensor.ok for tensor in matrices if "proj" in tensor.name)


def test_one_damaged_tensor_is_named(tmp_path: Path):
    bundle = copy_bundle(small_bundle("native", None, None, "int4"), tmp_path / "m")
    name = "layers.1.self_attn.qkv_proj"
    info = next(tensor for tensor in Bundle(bundle).tensor_index().tensors if tensor.name == name)
    codes = np.memmap(bundle / info.values.file, np.uint8, "r+", info.values.offset, info.values.shape)
    codes[::3] ^= 0xFF
    codes.flush()
    assert [tensor.name for tensor in _compare(bundle).tensors if not tensor.ok] == [name]


@pytest.mark.parametrize(("recipe", "factor"), [("int8", 1.03), ("int4", 1.12)])
def test_another_adapter_merged_into_the_same_weights_is_caught(tmp_path: Path, recipe: str, factor: float):
    """It changes the sum by a few percent, which no fixed floor for 8 or 4 bits could separate from their rounding."""
    checkpoint = tmp_path / "checkpoint"
    shutil.copytree(small_checkpoint().path, checkpoint)
    path = checkpoint / "speech-lora" / "adapter_model.safetensors"
    matrices = load_file(path)
    save_file({name: value * (factor if "lora_B" in name else 1) for name, value in matrices.items()}, path)
    report = compare_with_checkpoint(small_bundle("native", "speech", None, recipe), str(checkpoint), lambda *_: None)
    lost = {tensor.name for tensor in report.tensors if not tensor.ok}
    assert lost == {
        name.removesuffix(".lora_A.weight").removeprefix("base_model.model.model.")
        for name in matrices
        if "lora_A" in name
    }


def test_outliers_in_every_row_are_no_damage(tmp_path: Path):
    """A byte per weight and one scale per row keep little of such rows, as `int8:rows` must."""
    checkpoint = tmp_path / "checkpoint"
    shutil.copytree(small_checkpoint().path, checkpoint)
    weights = load_file(checkpoint / "model.safetensors")
    matrix = weights["model.layers.0.mlp.gate_up_proj.weight"]
    matrix[:, 0] = 60 * matrix.std()
    save_file(weights, checkpoint / "model.safetensors")
    bundle = export(checkpoint, tmp_path / "m", ExportOptions(overrides=("layers.*=int8:rows",)))
    report = compare_with_checkpoint(bundle, str(checkpoint), lambda *_: None)
    assert all(tensor.ok for tensor in report.tensors)


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_a_scale_that_is_no_number_is_counted_as_lost(tmp_path: Path, value: float):
    bundle = copy_bundle(small_bundle("phi3", None, None, "int4"), tmp_path / "m")
    info = next(tensor for tensor in Bundle(bundle).tensor_index().tensors if tensor.scales is not None)
    assert info.scales is not None
    scales = np.memmap(bundle / info.scales.file, np.float32, "r+", info.scales.offset, info.scales.shape)
    scales[0, 0] = value
    scales.flush()
    assert [tensor.name for tensor in _compare(bundle, "phi3").tensors if not tensor.ok] == [info.name]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (("rope", "theta"), "its rope differs"),
        (("tokens", "bos"), "its tokens differ"),
        (("adapters", "available", 0, "scale"), "its adapters differ"),
        (("vision", "max_crops"), "its vision differs"),
        (("speech", "window_rows"), "its speech differs"),
        (("decoder", "num_kv_heads"), "its decoder differs"),
    ],
)
def test_a_number_changed_in_the_manifest_is_caught(tmp_path: Path, path: tuple[str | int, ...], message: str):
    """No hash covers the manifest, and another angle or token id spoils every answer."""
    bundle = copy_bundle(small_bundle("native", None, None, "int4"), tmp_path / "m")
    raw = described(bundle)
    *outer, last = path
    place = functools.reduce(lambda value, key: value[key], outer, raw)
    place[last] += 2
    (bundle / "edgephi.json").write_text(json.dumps(raw))
    with pytest.raises(ArtifactError, match=rf"edgephi\.json: {message} from what an export of .* says"):
        _compare(bundle)


def test_another_kind_of_model_is_refused():
    with pytest.raises(ArtifactError, match=r"has no vision and speech, which .* holds; another model\?"):
        _compare(small_bundle(), "phi3")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"name": "layers.0.mlp.down_proj', '"name": "layers.7.mlp.down_proj', r"has no tensor layers\.\d.mlp"),
        ('"format": "int8:32"', '"format": "int8:64"', r"tensor .* is stored as int8:64 .* stores int8:32"),
    ],
)
def test_a_bundle_that_another_version_would_not_make_is_refused(tmp_path: Path, old: str, new: str, message: str):
    bundle = copy_bundle(small_bundle("phi3", None, None, "int4"), tmp_path / "m")
    put(bundle, "tensors.json", (bundle / "tensors.json").read_text().replace(old, new).encode())
    with pytest.raises(ArtifactError, match=message):
        _compare(bundle, "phi3")


def test_progress_reaches_the_end():
    steps: list[tuple[int, int]] = []
    compare_with_checkpoint(
        small_bundle("phi3"), str(small_checkpoint("phi3").path), lambda done, total: steps.append((done, total))
    )
    assert steps == sorted(steps)
    assert steps[-1][0] == steps[-1][1]
