"""Layers that the graphs share: linears, norms, gates and attention over a whole sequence."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from edgephi.bundle.tensor_index import Part
from edgephi_export.checkpoint.lazy_tensor import LazyTensor, computed
from edgephi_export.checkpoint.tensors import WeightSource
from edgephi_export.graphs.builder import MICROSOFT, GraphBuilder
from edgephi_export.graphs.linear import apply_linear
from edgephi_export.weights.plan import WeightPlan

FLOAT = ir.DataType.FLOAT


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerBuilder:
    """Adds layers to a graph by the canonical names of their weights.

    Attributes:
        graph: Gets the nodes.
        source: Knows the weights.
        plan: Gives them places.
        part: The component they belong to.
    """

    graph: GraphBuilder
    source: WeightSource
    plan: WeightPlan
    part: Part

    @property
    def dtype(self) -> ir.DataType:
        """The type that the graph computes with."""
        return ir.DataType.from_numpy(np.dtype(self.plan.recipe.activations))

    def within(self, branch: GraphBuilder) -> LayerBuilder:
        """The same for nodes of a branch."""
        return replace(self, graph=branch)

    def weight(self, name: str) -> ir.Value:
        """A tensor as it is in the checkpoint."""
        return self.array(self.source.lazy(name))

    def array(self, tensor: LazyTensor) -> ir.Value:
        """A tensor that is no matrix of a linear, in the activations' type."""
        info = self.plan.place_array(self.part, tensor, self.plan.recipe.activations)
        return self.graph.stored(tensor.name, info.values)

    def matmul(self, inputs: ir.Value, name: str, *, scale: float = 1.0) -> ir.Value:
        """`inputs @ weight.T * scale`: floats [..., inputs] to [..., outputs].

        A pointwise convolution's weight [outputs, inputs, 1] counts as a matrix.
        """
        matrix = self.source.lazy(f"{name}.weight").as_matrix().scaled(scale)
        return self.apply(inputs, matrix.renamed(name))

    def apply(self, inputs: ir.Value, matrix: LazyTensor) -> ir.Value:
        """`inputs @ matrix.T`, stored as the recipe wants it."""
        return apply_linear(self.graph, inputs, self.plan.place_linear(self.part, matrix))

    def linear(self, inputs: ir.Value, name: str, *, scale: float = 1.0) -> ir.Value:
        """`(inputs @ weight.T + bias) * scale`."""
        bias = self.source.lazy(f"{name}.bias").scaled(scale)
        return self.add_bias(self.matmul(inputs, name, scale=scale), bias, name)

    def add_bias(self, value: ir.Value, bias: LazyTensor, name: str) -> ir.Value:
        """`value + bias`."""
        return self.graph.op("Add", value, self.array(bias), name=name)

    def enter(self, value: ir.Value, name: str) -> ir.Value:
        """A float32 input in the type the graph computes with."""
        return value if self.dtype == FLOAT else self.graph.op("Cast", value, name=name, to=self.dtype.value)

    def leave(self, value: ir.Value, name: str) -> ir.Value:
        """A value as float32, for an output."""
        return value if self.dtype == FLOAT else self.graph.op("Cast", value, name=name, to=FLOAT.value)

    def layer_norm(self, inputs: ir.Value, name: str, epsilon: float) -> ir.Value:
        """LayerNorm over the last axis."""
        scale, bias = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        return self.graph.op("LayerNormalization", inputs, scale, bias, name=name, axis=-1, epsilon=epsilon)

    def swish(self, inputs: ir.Value, name: str) -> ir.Value:
        """`x * sigmoid(x)`."""
        return self.graph.op("QuickGelu", inputs, domain=MICROSOFT, name=name, alpha=1.0)

    def halves(self, inputs: ir.Value, name: str) -> tuple[ir.Value, ir.Value]:
        """The two halves of the last axis."""
        first, second = self.graph.ops("Split", inputs, count=2, name=name, axis=-1, num_outputs=2)
        return first, second

    def project(self, inputs: ir.Value, name: str) -> ir.Value:
        """A modality's projector: linear, exact GELU, linear."""
        inner = self.graph.op("Gelu", self.linear(inputs, f"{name}.up"), name=name)
        return self.linear(inner, f"{name}.down")

    def attention(self, inputs: ir.Value, name: str, keys: AttentionKeys) -> ir.Value:
        """Attention of every row to the keys, without the output projection.

        Without a mask or a bias ONNX Runtime takes its tiled kernel, which never holds all scores. The biases of the
        three projections are added while it reorders their heads.

        Args:
            inputs: float32 [N, L, D], the same for queries, keys and values.
            name: Holds q_proj, k_proj and v_proj with biases.
            keys: Heads, which rows are attended, and what is added to the scores.

        Returns:
            float32 [N, L, D].
        """
        names = [f"{name}.{letter}_proj" for letter in "qkv"]
        query, key, value = (self.matmul(inputs, linear) for linear in names)
        if keys.count is not None:
            start, rows = self.graph.constant([0]), self.graph.constant([1])
            key, value = (self.graph.op("Slice", all_, start, keys.count, rows, name=name) for all_ in (key, value))
        return self.graph.op(
            "MultiHeadAttention", query, key, value, self.array(self._joined_bias(names, name)), None, keys.bias,
            name=name, domain=MICROSOFT, num_heads=keys.num_heads,
        )  # fmt: skip

    def _joined_bias(self, linears: list[str], name: str) -> LazyTensor:
        source, names = self.source, [f"{linear}.bias" for linear in linears]
        size, num_bytes = sum(source.shape(part)[0] for part in names), sum(map(source.num_bytes, names))
        return computed(
            f"{name}.qkv_bias", (size,), lambda: np.concatenate([source.read(part) for part in names]), num_bytes
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionKeys:
    """The heads of an attention, the keys that every row attends to, and the bias.

    Attributes:
        num_heads: Heads.
        count: int64 [1], how many rows from the first on are attended; None for all.
        bias: float32 [1, heads, L, L], added to the scaled scores.
    """

    num_heads: int
    count: ir.Value | None = None
    bias: ir.Value | None = None
