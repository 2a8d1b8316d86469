"""`verify --reference` must pass what an export made and catch what it did not."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from edgephi.bundle import Bundle
from edgephi.comparison import ComparisonReport, TensorComparison
from edgephi.errors import ArtifactError
from edgephi_export.compare import compare_with_checkpoint
from support.bundles import copy_bundle, small_bundle, small_checkpoint
from support.checkpoints import Layout


def _compare(bundle: Path, layout: Layout = "native", seed: int = 0) -> ComparisonReport:
    return compare_with_checkpoint(bundle, str(small_checkpoint(layout, seed).path), lambda done, total: None)


def _by_name(report: ComparisonReport) -> dict[str, TensorComparison]:
    return {tensor.name: tensor for tensor in report.tensors}


@pytest.mark.parametrize("adapters", [None, "speech", "vision", "none"])
@pytest.mark.parametrize("recipe", ["fp32", "int8", "int4", "int4-fast", "fp16", "int4-cuda"])
def test_every_export_passes_against_its_own_checkpoint(recipe: str, adapters: str | None):
    bundle = small_bundle("native", adapters, None, recipe)
    report = _compare(bundle)
    assert len(report.tensors) == len(Bundle(bundle).tensor_index().tensors)
    assert all(tensor.ok for tensor in report.tensors)
    assert all(math.isinf(tensor.sqnr_db) for tensor in report.tensors if tensor.format == "float32")


def test_decibels_are_those_of_the_format():
    """Uniform weights, so 6 dB a bit: a floor or a decoder that were off by a bit would show."""
    for tensor in _compare(small_bundle("native", None, None, "int4")).tensors:
        low, high = {"int4:32": (18, 30), "int8:32": (40, 55), "float32": (math.inf, math.inf)}[tensor.format]
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


def test_another_kind_of_model_is_refused():
    with pytest.raises(ArtifactError, match=r"has no vision and speech, which .* holds; another model\?"):
        _compare(small_bundle(), "phi3")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"name": "layers.0.mlp.down_proj"', '"name": "layers.7.mlp.down_proj"', r"has no tensor layers\.\d.mlp"),
        ('"format": "int8:32"', '"format": "int8:64"', r"tensor .* is stored as int8:64 .* stores int8:32"),
    ],
)
def test_a_bundle_that_another_version_would_not_make_is_refused(tmp_path: Path, old: str, new: str, message: str):
    bundle = copy_bundle(small_bundle("phi3", None, None, "int4"), tmp_path / "m")
    index = bundle / "tensors.json"
    text = index.read_text().replace(old, new, 1)
    assert len(text.encode()) == index.stat().st_size  # the manifest's size still holds
    index.write_text(text)
    with pytest.raises(ArtifactError, match=message):
        _compare(bundle, "phi3")


def test_progress_reaches_the_end():
    steps: list[tuple[int, int]] = []
    compare_with_checkpoint(
        small_bundle("phi3"), str(small_checkpoint("phi3").path), lambda done, total: steps.append((done, total))
    )
    assert steps == sorted(steps)
    assert steps[-1][0] == steps[-1][1]
