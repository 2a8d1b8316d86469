"""The likeliest token of each row of logits, found where the logits are: a device then sends two floats instead of V.

GPUs have one thread compute each index of ArgMax, and a vocabulary is long. So the index is found by reductions that
all threads share, over groups of the vocabulary: the largest logit, the places that have it, the first of these.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from edgephi_export.graphs.builder import GraphBuilder

NAME = "best"
_LABEL = "lm_head.best"


def best_token(graph: GraphBuilder, logits: ir.Value, vocabulary: int) -> ir.Value:
    """The id of the largest logit, the first of equal ones, and the sum of the logits.

    Args:
        graph: Gets the nodes.
        logits: Floats [B, R, V].
        vocabulary: V, at most 2^24, up to which float32 holds every whole number.

    Returns:
        float32 [B, R, 2]. The sum is not finite where a logit is not; the id means nothing then.
    """
    groups = next(size for size in range(math.isqrt(vocabulary), 0, -1) if vocabulary % size == 0)
    floats = graph.op("Cast", logits, name=_LABEL, to=ir.DataType.FLOAT.value)
    table = graph.op("Reshape", floats, graph.constant([0, 0, groups, -1]), name=_LABEL)
    members = vocabulary // groups
    starts = graph.constant(np.arange(0, vocabulary, members, dtype=np.float32).reshape(1, 1, groups, 1))
    offsets = graph.constant(np.arange(members, dtype=np.float32).reshape(1, 1, 1, members))
    ids = graph.op("Add", starts, offsets, name=_LABEL)
    is_largest = graph.op("Equal", table, _over_all(graph, "ReduceMax", table), name=_LABEL)
    places = graph.op("Where", is_largest, ids, graph.constant(np.float32(vocabulary)), name=_LABEL)
    found = [_over_all(graph, "ReduceMin", places), _over_all(graph, "ReduceSum", table)]
    pair = graph.op("Concat", *found, name=_LABEL, axis=-1)
    return graph.op("Reshape", pair, graph.constant([0, 0, 2]), name=_LABEL)


def _over_all(graph: GraphBuilder, reduction: str, table: ir.Value) -> ir.Value:
    """[B, R, 1, 1]: over the members of each group, then over the groups."""
    inner = graph.op(reduction, table, graph.constant([3]), name=_LABEL, keepdims=1)
    return graph.op(reduction, inner, graph.constant([2]), name=_LABEL, keepdims=1)
