"""The rate at which this machine multiplies bytes: the best of ONNX Runtime's own products, weights packed.

A graph of one node is written here byte by byte, so that a device needs no package that makes graphs.

    codes uint8 [R, K] x weights int8 [K, N] -> int32 [R, N]        2 R K N operations
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

#: Rows of a chunk, and the sizes of a linear whose weights fit into no cache but the last.
_ROWS, _INPUTS, _OUTPUTS = 256, 3072, 2048
_SECONDS = 0.3
_TYPES = {"uint8": 2, "int8": 3, "int32": 6}  # ONNX's numbers of types


def int8_rate(ort: Any, threads: int) -> float:
    """Operations per second, additions and multiplications counted apart, of the fastest of many runs.

    Args:
        ort: The `onnxruntime` module.
        threads: Of the session.
    """
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = threads
    random = np.random.default_rng(0)
    weights = random.integers(-64, 65, (_INPUTS, _OUTPUTS)).astype(np.int8)
    session = ort.InferenceSession(product_graph(weights), settings, providers=["CPUExecutionProvider"])
    codes = random.integers(0, 256, (_ROWS, _INPUTS)).astype(np.uint8)
    session.run(None, {"codes": codes})
    best, end = float("inf"), time.perf_counter() + _SECONDS
    while time.perf_counter() < end:
        before = time.perf_counter()
        session.run(None, {"codes": codes})
        best = min(best, time.perf_counter() - before)
    return 2 * _ROWS * _INPUTS * _OUTPUTS / best


def product_graph(weights: np.ndarray) -> bytes:
    """An ONNX file: `product = codes @ weights`, codes uint8 around 0, weights int8 [K, N]."""
    tensor = b"".join(_number(1, size) for size in weights.shape) + _number(2, _TYPES["int8"])
    tensor += _part(8, b"weights") + _part(9, np.ascontiguousarray(weights, np.int8).tobytes())
    node = _part(1, b"codes") + _part(1, b"weights") + _part(2, b"product") + _part(4, b"MatMulInteger")
    graph = _part(1, node) + _part(2, b"product") + _part(5, tensor)
    graph += _part(11, _value(b"codes", "uint8")) + _part(12, _value(b"product", "int32"))
    return _number(1, 10) + _part(7, graph) + _part(8, _part(1, b"") + _number(2, 21))


def _value(name: bytes, dtype: str) -> bytes:
    """A named matrix of two free axes."""
    axis = _part(1, _part(2, b"free"))
    return _part(1, name) + _part(2, _part(1, _number(1, _TYPES[dtype]) + _part(2, axis + axis)))


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _part(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*digits, value))
