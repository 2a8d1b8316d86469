"""Each id gets its own logit, in whatever pieces the head is computed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest
from numpy.typing import NDArray

from edgephi.bundle.bundle import Bundle
from edgephi.bundle.tensor_index import TENSORS_NAME, StoredTensorInfo, TensorIndex
from edgephi.decoder.embedding_table import EmbeddingTable
from edgephi_export.graphs.builder import GraphBuilder
from edgephi_export.graphs.lm_head import apply_head, rows_of
from edgephi_quantize.recipe import HEAD
from support.bundles import copy_bundle, small_bundle


def _table(bundle: Path) -> StoredTensorInfo:
    index = TensorIndex.from_json((bundle / TENSORS_NAME).read_text(encoding="utf-8"), TENSORS_NAME)
    (table,) = (tensor for tensor in index.tensors if tensor.name == HEAD)
    return table


def _logits(folder: Path, table: StoredTensorInfo, inputs: NDArray[np.float32]) -> tuple[NDArray[np.float32], int]:
    """What a graph of the head alone gives, and in how many pieces."""
    graph = GraphBuilder("head")
    rows = graph.input("rows", ir.DataType.FLOAT, ["R", inputs.shape[1]])
    graph.output(apply_head(graph, rows, table), "logits", ir.DataType.FLOAT, ["R", table.shape[0]])
    graph.save(folder / "head.onnx")
    session = ort.InferenceSession(folder / "head.onnx")
    pieces = sum(node.op_type in ("MatMulNBits", "FusedMatMul") for node in ir.load(folder / "head.onnx").graph)
    return session.run(["logits"], {"rows": inputs})[0], pieces


@pytest.mark.parametrize(("first", "count"), [(0, None), (5, 7), (2, 2), (9, 1)])
@pytest.mark.parametrize("recipe", ["fp32", "int8", "int4", "int4-fast"])
def test_a_logit_is_the_product_with_its_own_row(recipe: str, first: int, count: int | None, tmp_path: Path):
    """A row that lost its scale or zero point to a neighbour would make the model say other words."""
    folder = copy_bundle(small_bundle("native", None, None, recipe), tmp_path / "bundle")
    table, bundle = _table(folder), Bundle(folder)
    stop = table.shape[0] if count is None else first + count
    inputs = np.eye(table.shape[1], dtype=np.float32)[::5]  # exact in eight bits too
    logits, pieces = _logits(folder, rows_of(table, first, stop), inputs)
    wanted = EmbeddingTable(bundle, bundle.manifest.decoder.embedding).rows(np.arange(first, stop))
    np.testing.assert_allclose(logits, inputs @ wanted.T, rtol=1e-5, atol=1e-7)
    assert pieces == min(stop - first, 4)
