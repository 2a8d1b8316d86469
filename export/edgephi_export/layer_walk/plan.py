"""What a walk solves, and which of its requests are compared with the float model on the way."""

from __future__ import annotations

from dataclasses import dataclass

from edgephi.bundle.manifest import Adapter, AdapterMode
from edgephi_export.checkpoint.config import ModelConfig
from edgephi_export.checkpoint.tensors import WeightSource
from edgephi_export.graphs.adapters import AdapterPair, merged
from edgephi_export.layer_walk.linear import AdapterTensors, LinearTask
from edgephi_quantize.recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class WalkPlan:
    """What is solved.

    Attributes:
        config: The model.
        source: Its weights.
        mode: How adapters are built in.
        recipe: Formats, method, and what is solved anew.
        threads: Workers.
    """

    config: ModelConfig
    source: WeightSource
    mode: AdapterMode
    recipe: Recipe
    threads: int

    def task(self, name: str) -> LinearTask:
        """The tensors of the linear `name` as the decoder's graph has them."""
        matrix = self.source.lazy(f"{name}.weight").renamed(name)
        pairs = {info.name: AdapterPair(self.source, name, info) for info in self.config.adapters}
        for kind, pair in pairs.items():
            if kind == self.mode:
                matrix = merged(matrix, pair)
        routed = pairs if self.mode == "routed" else {}
        adapters: dict[Adapter, AdapterTensors] = {
            kind: AdapterTensors(a=pair.a, scaled_b=pair.scaled_b) for kind, pair in routed.items()
        }
        return LinearTask(matrix=matrix, adapters=adapters)

    def is_followed(self, adapter: Adapter) -> bool:
        """Whether something is solved anew for requests with this adapter, on what the float model makes of them."""
        is_routed = self.mode == "routed" and adapter in {info.name for info in self.config.adapters}
        return self.recipe.absorbed if is_routed else self.recipe.correction_rank > 0
