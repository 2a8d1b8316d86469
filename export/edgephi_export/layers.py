"""Layers that the graphs share: linears, norms, gates and attention over a whole sequence.

Owns how canonical weights become nodes. Knows nothing about which model part it builds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgephi_export.graph_builder import MICROSOFT, GraphBuilder
from edgephi_export.recipe import LinearWeight, Recipe
from edgephi_export.weights import WeightSource
from edgephi_export.weights_file import WeightsFile


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerBuilder:
    """Adds layers to a graph by the canonical names of their weights.

    Attributes:
        graph: Gets the nodes.
        source: Gives the weights.
        recipe: Stores the matrices of linears; everything else is float32.
        file: Gets the data.
    """

    graph: GraphBuilder
    source: WeightSource
    recipe: Recipe
    file: WeightsFile

    def weight(self, name: str) -> ir.Value:
        """A tensor as it is in the checkpoint."""
        return self.graph.weight(name, self.source.read(name), self.file)

    def matmul(self, inputs: ir.Value, name: str, *, scale: float = 1.0) -> ir.Value:
        """`inputs @ weight.T * scale`: float32 [..., inputs] to [..., outputs].

        A pointwise convolution's weight [outputs, inputs, 1] counts as a matrix.
        """

        def read() -> NDArray[np.float32]:
            matrix = self.source.read(f"{name}.weight")
            return matrix.reshape(matrix.shape[:2]) * np.float32(scale)

        return self.recipe.linear(self.graph, inputs, LinearWeight(name=name, read=read, file=self.file))

    def linear(self, inputs: ir.Value, name: str, *, scale: float = 1.0) -> ir.Value:
        """`(inputs @ weight.T + bias) * scale`."""
        bias = self.source.read(f"{name}.bias") * np.float32(scale)
        return self.add_bias(self.matmul(inputs, name, scale=scale), bias, name)

    def add_bias(self, value: ir.Value, bias: NDArray[np.float32], name: str) -> ir.Value:
        """`value + bias`, the bias being stored as `<name>.bias`."""
        return self.graph.op("Add", value, self.graph.weight(f"{name}.bias", bias, self.file), name=name)

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

    def attention(self, inputs: ir.Value, name: str, mask: AttentionMask) -> ir.Value:
        """Attention of every row to every row, without the output projection.

        Args:
            inputs: float32 [N, L, D], the same for queries, keys and values.
            name: Holds q_proj, k_proj and v_proj with biases.
            mask: Heads and what is masked or biased.

        Returns:
            float32 [N, L, D].
        """
        query, key, value = (self.linear(inputs, f"{name}.{letter}_proj") for letter in "qkv")
        return self.graph.op(
            "MultiHeadAttention", query, key, value, None, mask.key_padding, mask.bias,
            name=name, domain=MICROSOFT, num_heads=mask.num_heads,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionMask:
    """What shapes an attention besides its weights.

    Attributes:
        num_heads: Heads.
        key_padding: int32 [N, L], 0 where a key must not be attended.
        bias: float32 [1, heads, L, L], added to the scaled scores.
    """

    num_heads: int
    key_padding: ir.Value | None = None
    bias: ir.Value | None = None
