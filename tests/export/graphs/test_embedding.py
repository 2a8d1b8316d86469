"""Token ids get the rows that the runtime's own embedding reads, whatever the format of the table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest

from edgephi.bundle.bundle import Bundle
from edgephi.bundle.tensor_index import TENSORS_NAME, StoredTensorInfo, TensorIndex
from edgephi.decoder.embedding_table import EmbeddingTable
from edgephi_export import ExportOptions, export
from edgephi_export.graphs.builder import GraphBuilder
from edgephi_export.graphs.embedding import embedding_rows
from edgephi_quantize.recipe import HEAD
from support.bundles import small_checkpoint


def _table(bundle: Path) -> StoredTensorInfo:
    index = TensorIndex.from_json((bundle / TENSORS_NAME).read_text(encoding="utf-8"), TENSORS_NAME)
    return next(tensor for tensor in index.tensors if tensor.name == HEAD)


@pytest.mark.parametrize(
    "format_", ["float32", "int8:32", "int4:32", "int4:128", "int2:32", "int8:64:symmetric", "int4:64:symmetric"]
)
def test_rows_are_those_of_the_runtimes_table(format_: str, tmp_path: Path):
    """A nibble, a zero point or a scale in another's place makes the model read other words than were written."""
    options = ExportOptions(recipe="fp32", overrides=(f"{HEAD}={format_}",), adapters="none")
    folder = export(small_checkpoint("phi3").path, tmp_path / "model", options)
    table, bundle = _table(folder), Bundle(folder)
    graph = GraphBuilder("embedding")
    ids = graph.input("ids", ir.DataType.INT64, ["B", "S"])
    rows = embedding_rows(graph, ids, table)
    graph.output(rows, "rows", ir.DataType.FLOAT, ["B", "S", table.shape[1]])
    graph.save(folder / "embedding.onnx")
    asked = np.array([[0, 7, 399], [250, 7, 1]])
    (got,) = ort.InferenceSession(folder / "embedding.onnx").run(["rows"], {"ids": asked})
    wanted = EmbeddingTable(bundle, bundle.manifest.decoder.embedding).rows(asked.reshape(-1))
    np.testing.assert_allclose(got.reshape(wanted.shape), wanted, rtol=1e-6, atol=1e-8)
