"""Outliers: a linear whose inputs one scale a row cannot hold must not be rounded so, and the folder says which."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from safetensors.numpy import load_file, save_file

from edgephi.bundle.bundle import Bundle
from edgephi_export import ExportOptions, export
from edgephi_export.calibration import prefill_gate
from edgephi_export.calibration.prefill_gate import MOST_ERROR, _observe, _without_part
from edgephi_export.graphs.builder import GraphBuilder
from edgephi_export.graphs.linear import apply_linear
from support.bundles import copy_bundle, small_bundle
from support.checkpoints import write_checkpoint
from support.sizes import SMALL


def _observed(folder: Path, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, frozenset[str]]:
    """Energy and error of each row as a graph of one linear states them, and the linears that read the row."""
    bundle = Bundle(folder)
    stored = next(tensor for tensor in bundle.tensor_index().tensors if tensor.format == "int8:rows")
    graph = GraphBuilder("linear")
    value = graph.input("rows", ir.DataType.FLOAT, ["R", stored.shape[1]])
    graph.output(apply_linear(graph, value, stored), "out", ir.DataType.FLOAT, ["R", stored.shape[0]])
    model = onnx.load_from_string(graph.serialized)
    (one,) = _observe(model.graph)
    onnx.save(model, folder / "linear.onnx")
    inputs = np.resize(rows, (len(rows), stored.shape[1])).astype(np.float32)
    energy, error = ort.InferenceSession(folder / "linear.onnx").run([one.energy, one.error], {"rows": inputs})
    return energy.ravel(), error.ravel(), one.linears


def test_the_error_of_a_row_is_that_of_its_rounding(tmp_path: Path):
    """Heavy-tailed rows lose several times what normal ones lose; a row of zeros loses nothing."""
    folder = copy_bundle(small_bundle(recipe="int4", prefill="int8"), tmp_path / "bundle")
    random = np.random.default_rng(0)
    rows = random.standard_normal((3, SMALL.hidden))
    rows[1] = random.standard_t(1.5, SMALL.hidden)
    rows[2] = 0
    energy, error, linears = _observed(folder, rows)
    assert linears == {"prefill.layers.0.self_attn.qkv_proj"}
    scale = np.maximum(np.abs(rows).max(axis=1, keepdims=True) / 127, 1e-12)
    expected = ((rows - scale * np.clip(np.rint(rows / scale), -128, 127)) ** 2).sum(axis=1)
    np.testing.assert_allclose(error, expected, rtol=1e-3, atol=1e-9)
    np.testing.assert_allclose(energy, (rows**2).sum(axis=1), rtol=1e-5)
    normal, heavy = error[:2] / energy[:2]
    assert 2 * normal < heavy < MOST_ERROR


@pytest.mark.parametrize(
    ("linear", "name"),
    [
        ("prefill.layers.0.mlp.gate_up_proj.gate.3", "prefill.layers.0.mlp.gate_up_proj"),
        ("prefill.layers.0.mlp.down_proj", "prefill.layers.0.mlp.down_proj"),
        ("prefill.layers.1.self_attn.o_proj.lora_A.vision", "prefill.layers.1.self_attn.o_proj"),
    ],
)
def test_parts_of_a_linear_have_its_rule(linear: str, name: str):
    assert _without_part(linear) == name


def test_a_linear_beyond_the_gate_is_stored_in_blocks_and_the_manifest_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Rows of the small model are too short to lose 1 %, so the gate is lower here."""
    checkpoint = write_checkpoint(tmp_path / "checkpoint", "phi3").path
    (file,) = checkpoint.glob("*.safetensors")
    tensors = load_file(file)
    tensors["model.layers.0.mlp.gate_up_proj.weight"][SMALL.intermediate + 5] *= 500  # one input of down_proj
    save_file(tensors, file, metadata={"format": "pt"})
    monkeypatch.setattr(prefill_gate, "MOST_ERROR", 4e-4)
    bundle = Bundle(export(checkpoint, tmp_path / "m", ExportOptions(recipe="fp32", prefill="int8", kv_cache="int8")))
    rules = [(rule.pattern, rule.format) for rule in bundle.manifest.recipe.rules]
    assert rules[-2:] == [("prefill.*", "int8:rows"), ("prefill.layers.0.mlp.down_proj*", "int8:32")]
    formats = {tensor.name: tensor.format for tensor in bundle.tensor_index().tensors if tensor.part == "prefill"}
    assert [name for name, kind in formats.items() if kind != "int8:rows"] == ["prefill.layers.0.mlp.down_proj"]
    assert bundle.manifest.decoder.int8_cache is not None
    assert not list(bundle.path.glob(".*"))  # nothing of the observed graph
    kept = ExportOptions(recipe="fp32", prefill="int8", overrides=("prefill.*.down_proj=int8:rows",))
    formats = {t.format for t in Bundle(export(checkpoint, tmp_path / "k", kept)).tensor_index().tensors}
    assert formats == {"float32", "int8:rows"}  # the user's rules count more
