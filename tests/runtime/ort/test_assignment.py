"""What of a graph the CPU computes, in words."""

from __future__ import annotations

import pytest

from edgephi.ort.assignment import Assignment


@pytest.mark.parametrize(
    ("operators", "expected"),
    [
        ((), "all 1,200 nodes on the GPU"),
        (("Or",), "1 of 1,200 nodes on the CPU: Or 1"),
        (("Or", "Equal", "Equal"), "3 of 1,200 nodes on the CPU: Equal 2, Or 1"),
    ],
)
def test_operators_of_the_cpu_are_counted_and_the_most_frequent_is_first(operators: tuple[str, ...], expected: str):
    nodes = tuple((f"node {index}", operator) for index, operator in enumerate(operators))
    assert str(Assignment(num_nodes=1200, host_nodes=nodes)) == expected
