"""The head: rows to logits, the table's rows in pieces.

While ONNX Runtime loads a graph it holds each matrix twice for a moment, as it lies in the file and as it is packed.
The head is ten times as large as any other matrix and comes last, when everything else is in memory already: whole, it
alone would decide how much memory loading takes (0.31 GB of the real model's `int4-fast`, 0.63 GB of `int4`). The copy
that joins the pieces is 0.8 MB for a row of logits.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import onnx_ir as ir

from edgephi.bundle.tensor_index import StoredTensorInfo
from edgephi_export.graphs.builder import GraphBuilder
from edgephi_export.graphs.linear import apply_linear

_PIECES = 4


def apply_head(graph: GraphBuilder, inputs: ir.Value, table: StoredTensorInfo) -> ir.Value:
    """Logits [..., V] of floats [..., H] by the tied table [V, H]."""
    vocabulary = table.shape[0]
    ends = sorted({vocabulary * piece // _PIECES for piece in range(_PIECES + 1)})
    logits = [apply_linear(graph, inputs, rows_of(table, start, stop)) for start, stop in pairwise(ends)]
    return logits[0] if len(logits) == 1 else graph.op("Concat", *logits, name=table.name, axis=-1)


def rows_of(table: StoredTensorInfo, start: int, stop: int) -> StoredTensorInfo:
    """The rows from `start` up to `stop` of a matrix, where they lie within it."""
    return replace(
        table,
        name=f"{table.name}.{start}",
        shape=(stop - start, *table.shape[1:]),
        values=table.values.rows(start, stop),
        scales=table.scales and table.scales.rows(start, stop),
        zero_points=table.zero_points and table.zero_points.rows(start, stop),
    )
