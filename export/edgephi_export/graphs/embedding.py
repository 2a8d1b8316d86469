"""Rows of the tied table inside a graph, by operators that every build of ONNX Runtime has.

`GatherBlockQuantized` does the same in one node, but ONNX Runtime for browsers has no kernel of it for the CPU.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgephi.bundle.tensor_index import StoredTensorInfo
from edgephi_export.graphs.builder import GraphBuilder
from edgephi_quantize.formats import BlockFormat, FloatFormat, parse_format

FLOAT = ir.DataType.FLOAT


def embedding_rows(graph: GraphBuilder, ids: ir.Value, table: StoredTensorInfo) -> ir.Value:
    """The rows of token ids, as the head's matrix has them.

    Args:
        graph: Gets the nodes. The constants are those that `apply_linear` reads for the head, over the same bytes.
        ids: int64 [B, S].
        table: The place of the table [V, H].

    Returns:
        float32 [B, S, H].

    Raises:
        ValueError: The table's format has no rows: it is neither float32 nor quantized in blocks.
    """
    format_ = parse_format(table.format)
    values = _rows(graph, ids, table, "weight")
    if isinstance(format_, FloatFormat) and values is not None:
        return values
    scales = _rows(graph, ids, table, "scales")
    if not isinstance(format_, BlockFormat) or values is None or scales is None:
        raise ValueError(f"{table.name} is stored as {table.format}; an embedding is stored as floats or in blocks")
    zeros = _rows(graph, ids, table, "zero_points")
    codes = graph.op("Cast", _unpacked(graph, values, format_.bits, [0, 0, 0, -1]), name="embed", to=FLOAT.value)
    middle = _zero(graph, zeros, format_.bits, blocks=table.values.shape[1])
    scaled = graph.op("Mul", graph.op("Sub", codes, middle, name="embed"), _columns(graph, scales), name="embed")
    rows = graph.op("Reshape", scaled, graph.constant([0, 0, -1]), name="embed")
    return _first(graph, rows, table.shape[1], axis=2)  # the last block of a row is filled up


def _rows(graph: GraphBuilder, ids: ir.Value, table: StoredTensorInfo, kind: str) -> ir.Value | None:
    ref = {"weight": table.values, "scales": table.scales, "zero_points": table.zero_points}[kind]
    if ref is None:
        return None
    return graph.op("Gather", graph.stored(f"{table.name}.{kind}", ref), ids, name=f"embed.{kind}", axis=0)


def _zero(graph: GraphBuilder, packed: ir.Value | None, bits: int, blocks: int) -> ir.Value:
    """The code of zero in each block, float32 [B, S, blocks, 1], or one for all."""
    if packed is None:
        return graph.constant(np.float32(2 ** (bits - 1)))
    zeros = graph.op("Cast", _unpacked(graph, packed, bits, [0, 0, -1]), name="embed.zeros", to=FLOAT.value)
    return _columns(graph, _first(graph, zeros, blocks, axis=2))


def _unpacked(graph: GraphBuilder, packed: ir.Value, bits: int, shape: list[int]) -> ir.Value:
    """The codes of uint8 [..., n] as uint8 [..., n * 8 / bits], the lowest bits of a byte first."""
    if bits == 8:
        return packed
    shifts = graph.constant(np.arange(0, 8, bits, dtype=np.uint8))
    apart = graph.op("Unsqueeze", packed, graph.constant([-1]), name="embed.unpack")
    shifted = graph.op("BitShift", apart, shifts, name="embed.unpack", direction="RIGHT")
    codes = graph.op("BitwiseAnd", shifted, graph.constant(np.uint8(2**bits - 1)), name="embed.unpack")
    return graph.op("Reshape", codes, graph.constant(shape), name="embed.unpack")


def _columns(graph: GraphBuilder, value: ir.Value) -> ir.Value:
    """[B, S, blocks, 1]."""
    return graph.op("Unsqueeze", value, graph.constant([3]), name="embed")


def _first(graph: GraphBuilder, value: ir.Value, count: int, axis: int) -> ir.Value:
    limits = (graph.constant([0]), graph.constant([count]), graph.constant([axis]))
    return graph.op("Slice", value, *limits, name="embed.first")
