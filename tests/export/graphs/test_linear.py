"""A matrix of bytes with one scale for each row: activations are rounded row by row, and none is cut off."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime as ort

from edgephi.bundle.bundle import Bundle
from edgephi_export.graphs.builder import GraphBuilder
from edgephi_export.graphs.linear import apply_linear
from support.bundles import copy_bundle, small_bundle


def test_a_row_of_activations_is_rounded_by_half_a_step_of_its_own_largest(tmp_path: Path):
    """An outlier in one row costs the others nothing; cut off, it would change what the encoders see and transcribe."""
    folder = copy_bundle(small_bundle(recipe="int4-fast"), tmp_path / "bundle")
    bundle = Bundle(folder)
    stored = next(tensor for tensor in bundle.tensor_index().tensors if tensor.format == "int8:rows")
    assert stored.scales is not None
    matrix = bundle.tensor(stored.values).astype(np.float32) * bundle.tensor(stored.scales)  # [inputs, outputs]
    inputs = np.random.default_rng(0).standard_normal((5, len(matrix))).astype(np.float32)
    inputs[1, 0], inputs[2] = 50.0, 0.0
    graph = GraphBuilder("linear")
    rows = graph.input("rows", ir.DataType.FLOAT, ["R", len(matrix)])
    graph.output(apply_linear(graph, rows, stored), "out", ir.DataType.FLOAT, ["R", matrix.shape[1]])
    graph.save(folder / "linear.onnx")
    found = ort.InferenceSession(folder / "linear.onnx").run(["out"], {"rows": inputs})[0]
    half_steps = np.abs(inputs).max(axis=1, keepdims=True) / 127 / 2
    assert (np.abs(found - inputs @ matrix) <= half_steps * np.abs(matrix).sum(axis=0) * 1.001 + 1e-6).all()
