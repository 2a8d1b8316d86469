"""Recipes: how the weight of a linear is stored and which nodes apply it.

Owns the table of recipes; a new one is a class here and nothing else. Knows nothing about what linears are for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgephi.errors import ConfigError
from edgephi_export.graph_builder import GraphBuilder
from edgephi_export.weights_file import WeightsFile


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearWeight:
    """A linear's matrix, not yet read.

    Attributes:
        name: Name for nodes and constants; unique in the graph.
        read: Gives float32 [outputs, inputs]; called at most once.
        file: Where the stored form goes.
    """

    name: str
    read: Callable[[], NDArray[np.float32]]
    file: WeightsFile


class Recipe(Protocol):
    """Turns a linear's canonical weight into constants and nodes."""

    @property
    def name(self) -> str:
        """What `--recipe` and the manifest call it."""
        ...

    def linear(self, graph: GraphBuilder, inputs: ir.Value, weight: LinearWeight) -> ir.Value:
        """Add `inputs @ weight.T` to `graph`.

        Args:
            graph: Gets the nodes; constants go to its root graph.
            inputs: float32 [..., inputs].
            weight: The matrix.

        Returns:
            float32 [..., outputs].
        """
        ...


@dataclass(frozen=True, slots=True)
class Fp32:
    """float32 weights in one MatMul; stored [inputs, outputs], as the operator wants them."""

    name: str = "fp32"

    def linear(self, graph: GraphBuilder, inputs: ir.Value, weight: LinearWeight) -> ir.Value:
        """See Recipe.linear."""
        matrix = graph.weight(f"{weight.name}.weight", weight.read().T, weight.file)
        return graph.op("MatMul", inputs, matrix, name=weight.name)


_RECIPES: dict[str, Recipe] = {recipe.name: recipe for recipe in (Fp32(),)}


def get_recipe(name: str) -> Recipe:
    """The recipe called `name`.

    Raises:
        ConfigError: There is none.
    """
    if name not in _RECIPES:
        raise ConfigError(f"unknown recipe {name!r}; known: {', '.join(_RECIPES)}")
    return _RECIPES[name]
