"""Nodes that apply a stored matrix: one way per format."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgephi.bundle.tensor_index import StoredTensorInfo
from edgephi_export.graphs.builder import MICROSOFT, GraphBuilder
from edgephi_quantize.formats import BlockFormat, FloatFormat, RowFormat, parse_format

#: Activations become int8 per row and block: 3 times faster on a CPU than any other level.
_INT8_ACTIVATIONS = 4
_ROW_ZERO_POINT = 128
_Constants = tuple[ir.Value, ir.Value]  # codes and scales


def apply_linear(graph: GraphBuilder, inputs: ir.Value, stored: StoredTensorInfo) -> ir.Value:
    """`inputs @ matrix.T`.

    Args:
        graph: Gets the nodes; constants go to its root graph.
        inputs: Floats [..., inputs].
        stored: The matrix [outputs, inputs].

    Returns:
        Floats [..., outputs], of the type of `inputs`.

    Raises:
        ValueError: The matrix is quantized and has no scales.
    """
    format_ = parse_format(stored.format)
    values = graph.stored(f"{stored.name}.weight", stored.values)
    if isinstance(format_, FloatFormat):
        return _by_floats(graph, inputs, values, stored.name)
    if stored.scales is None:
        raise ValueError(f"{stored.name} is stored as {stored.format} without scales")
    scales = graph.stored(f"{stored.name}.scales", stored.scales)
    if isinstance(format_, RowFormat):
        return _by_rows(graph, inputs, stored, (values, scales))
    return _by_blocks(graph, inputs, (values, scales), stored, format_)


def _by_floats(graph: GraphBuilder, inputs: ir.Value, matrix: ir.Value, name: str) -> ir.Value:
    """FusedMatMul reads the matrix as it lies; WebGPU lacks it, so for GPUs it is turned once, while it is loaded."""
    if not graph.is_for_gpu:
        return graph.op("FusedMatMul", inputs, matrix, name=name, domain=MICROSOFT, transB=1)
    return graph.op("MatMul", inputs, graph.op("Transpose", matrix, name=name, perm=[1, 0]), name=name)


def _by_blocks(
    graph: GraphBuilder,
    inputs: ir.Value,
    constants: _Constants,
    stored: StoredTensorInfo,
    format_: BlockFormat,
) -> ir.Value:
    name = stored.name
    zero_points = stored.zero_points and graph.stored(f"{name}.zero_points", stored.zero_points)
    level = _INT8_ACTIVATIONS if stored.scales and stored.scales.dtype == "float32" and not graph.is_for_gpu else 0
    return graph.op(
        "MatMulNBits", inputs, *constants, *([zero_points] if zero_points else []),
        name=name, domain=MICROSOFT, N=stored.shape[0], K=stored.shape[1],
        bits=format_.bits, block_size=format_.block_size, accuracy_level=level,
    )  # fmt: skip


def _by_rows(graph: GraphBuilder, inputs: ir.Value, stored: StoredTensorInfo, constants: _Constants) -> ir.Value:
    """Each row of the activations gets a scale of its own, so that an outlier hurts its own row only."""
    width, name = stored.shape[1], stored.name
    row_scale, codes = graph.shared(("by_rows", inputs), lambda: _quantized_rows(graph, inputs, width, name))
    values, scales = constants
    one, zero = graph.constant(np.float32(1)), graph.constant(np.uint8(_ROW_ZERO_POINT))
    product = graph.op("MatMulIntegerToFloat", codes, values, one, scales, zero, name=name, domain=MICROSOFT)
    return graph.op("Mul", product, row_scale, name=f"{name}.scaled")


def _quantized_rows(graph: GraphBuilder, inputs: ir.Value, width: int, name: str) -> tuple[ir.Value, ir.Value]:
    """Scale of each row [..., 1] and its uint8 codes around 128; computed once for all linears that read `inputs`.

    A row is one block of QuantizeLinear: the activations are read three times and written once, as codes.
    """
    label, axis = f"{name}.codes", graph.constant([-1])
    highest = graph.op("ReduceMax", inputs, axis, name=label, keepdims=1)
    lowest = graph.op("ReduceMin", inputs, axis, name=label, keepdims=1)
    largest = graph.op("Max", highest, graph.op("Neg", lowest, name=label), name=label)
    scale = graph.op("Mul", largest, graph.constant(np.float32(1 / 127)), name=label)
    scale = graph.op("Max", scale, graph.constant(np.float32(1e-12)), name=label)
    shape = graph.op("Shape", scale, name=label)
    zeros = graph.op("Expand", graph.constant(np.uint8(_ROW_ZERO_POINT)), shape, name=label)
    return scale, graph.op("QuantizeLinear", inputs, scale, zeros, name=label, axis=-1, block_size=width)
