"""The rate of int8 products is the floor of a prefill: the graph it is measured with must compute that product."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest

from edgephi_bench.measure.arithmetic import ArithmeticFloor
from edgephi_bench.measure.condition import Condition
from edgephi_bench.measure.int8_rate import product_graph


def test_the_graph_multiplies_codes_by_weights():
    random = np.random.default_rng(0)
    weights = random.integers(-64, 65, (300, 7)).astype(np.int8)
    codes = random.integers(0, 256, (5, 300)).astype(np.uint8)
    (product,) = ort.InferenceSession(product_graph(weights)).run(None, {"codes": codes})
    np.testing.assert_array_equal(product, codes.astype(np.int32) @ weights.astype(np.int32))


def test_a_floor_without_operations_is_refused():
    condition = Condition(kind="prefill", tokens=512, threads=2)
    floor = ArithmeticFloor(mode="text", condition=condition, operations=600, int8_rate=200.0, median_s=6.0)
    assert (floor.floor_s, floor.reached) == (3.0, 0.5)
    with pytest.raises(ValueError, match="the arithmetic of 512 tokens, 2 threads is not above 0"):
        ArithmeticFloor(mode="text", condition=condition, operations=0, int8_rate=200.0, median_s=6.0)
