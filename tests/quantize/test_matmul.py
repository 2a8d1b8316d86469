"""What is packed here must mean the same to ONNX Runtime's kernels: a wrong bit order gives fluent nonsense."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest
from numpy.typing import NDArray

from edgephi.decoder.dequantize import dequantize
from edgephi_quantize.block_codes import BlockCodes
from edgephi_quantize.formats import BITS, BLOCK_SIZES, BlockFormat
from edgephi_quantize.methods import get_method
from edgephi_quantize.packing import pack_codes, pack_zero_points
from support.random_values import uniform

ROWS, OUTPUTS = 5, 24


def _multiply(inputs: NDArray[np.float32], codes: BlockCodes, fmt: BlockFormat, accuracy_level: int):
    """`inputs` times the transposed weights, by a graph of one MatMulNBits."""
    constants = [("B", pack_codes(codes.codes, fmt.bits)), ("scales", codes.scales)]
    if not fmt.symmetric:
        constants.append(("zero_points", pack_zero_points(codes.zero_points, fmt.bits)))
    initializers = [
        ir.Value(name=name, const_value=ir.tensor(array, name=name), shape=ir.Shape(array.shape))
        for name, array in constants
    ]
    a = ir.Value(name="A", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape(inputs.shape))
    attributes = {
        "K": inputs.shape[1],
        "N": OUTPUTS,
        "bits": fmt.bits,
        "block_size": fmt.block_size,
        "accuracy_level": accuracy_level,
    }
    node = ir.node("MatMulNBits", [a, *initializers], attributes, domain="com.microsoft")
    y = node.outputs[0]
    y.name, y.type, y.shape = "Y", ir.TensorType(ir.DataType.FLOAT), ir.Shape((len(inputs), OUTPUTS))
    graph = ir.Graph(
        [a], [y], nodes=[node], initializers=initializers, opset_imports={"": 21, "com.microsoft": 1}, name="matmul"
    )
    session = ort.InferenceSession(
        ir.to_proto(ir.Model(graph, ir_version=10)).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"A": inputs})[0]


@pytest.mark.parametrize("size", [512, 304])
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("block_size", BLOCK_SIZES)
@pytest.mark.parametrize("bits", BITS)
def test_matmulnbits_multiplies_with_the_dequantized_weights(bits: int, block_size: int, symmetric: bool, size: int):
    fmt = BlockFormat(bits=bits, block_size=block_size, symmetric=symmetric)
    codes = get_method("search").quantize(uniform("weights", size, (OUTPUTS, size)), fmt)
    packed_zero_points = None if symmetric else pack_zero_points(codes.zero_points, bits)
    weights = dequantize(pack_codes(codes.codes, bits), codes.scales, packed_zero_points, bits=bits, size=size)
    np.testing.assert_array_equal(weights, codes.values(size))
    inputs = uniform("inputs", size, (ROWS, size))
    exact = inputs.astype(np.float64) @ weights.T.astype(np.float64)
    magnitude = np.abs(inputs).astype(np.float64) @ np.abs(weights.T).astype(np.float64)

    # Float activations: only the order of the sum differs, and with it the rounding of float32.
    assert (np.abs(_multiply(inputs, codes, fmt, 0) - exact) <= 2e-6 * magnitude).all()

    # Level 4 rounds activations to 8 bits per row and block: off by at most half of 1/127 of the block's largest.
    padding = -size % block_size
    blocks = np.pad(inputs, ((0, 0), (0, padding))).reshape(ROWS, -1, block_size)
    half_steps = np.repeat(np.abs(blocks).max(axis=2) / 254, block_size, axis=1)[:, :size]
    bound = half_steps.astype(np.float64) @ np.abs(weights.T).astype(np.float64)
    assert (np.abs(_multiply(inputs, codes, fmt, 4) - exact) <= 1.01 * bound + 2e-6 * magnitude).all()
