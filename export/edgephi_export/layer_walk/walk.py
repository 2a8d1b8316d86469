"""The order of the walk: layer after layer, and in each linear after linear, on what was solved before it.

One layer is in memory, and of it one matrix in float32. After each layer its tensors and the positions' hidden states
are in files, so that a walk that was killed goes on behind its last whole layer, with the same result.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from edgephi.bundle.manifest import Adapter, AdapterMode
from edgephi_export.checkpoint.config import ModelConfig
from edgephi_export.checkpoint.tensors import WeightSource
from edgephi_export.graphs.adapters import AdapterPair, merged
from edgephi_export.layer_walk.layer_pass import LayerPass
from edgephi_export.layer_walk.linear import AdapterTensors, LinearSolver, LinearTask
from edgephi_export.layer_walk.walk_files import WalkFiles
from edgephi_export.progress import Meter
from edgephi_export.weights.encode import StoredRows
from edgephi_quantize.recipe import Recipe

Floats = NDArray[np.float32]


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


def walk(plan: WalkPlan, files: WalkFiles, meter: Meter) -> None:
    """Solve every layer that `files` does not hold yet.

    Args:
        plan: What is solved.
        files: The sequences, and what earlier runs solved; gets the rest.
        meter: Reports the progress.

    Raises:
        ArtifactError: A tensor cannot be read or holds values that are not finite.
    """
    num_layers = plan.config.decoder.num_layers
    with threadpool_limits(limits=1, user_api="blas"):
        for layer in range(files.num_done, num_layers):
            meter.layer(layer + 1, num_layers)
            files.add(layer, *_Layer(plan, layer, files.adapters).solve(files.hidden()))


class _Layer:
    """One layer over all sequences, each linear solved on what those before it give."""

    def __init__(self, plan: WalkPlan, layer: int, adapters: list[Adapter]) -> None:
        self._plan, self._layer, self._adapters = plan, layer, adapters
        self._solver = LinearSolver(plan.recipe, plan.threads)
        self._stored: dict[str, StoredRows] = {}

    def solve(self, hidden: list[Floats]) -> tuple[dict[str, StoredRows], list[Floats]]:
        """The layer's tensors, and the hidden states behind it; those given are overwritten."""
        plan = self._plan
        LayerPass(plan.config, plan.source, self._layer, plan.threads).run(hidden, self._linear)
        return self._stored, hidden

    def _linear(self, name: str, inputs: list[Floats]) -> Callable[[int], Floats]:
        solved = self._solver.solve(self._plan.task(name), by_adapter(self._adapters, inputs))
        self._stored |= solved.stored
        return lambda index: solved.outputs(inputs[index], self._adapters[index])


def by_adapter(adapters: list[Adapter], inputs: list[Floats]) -> dict[Adapter, list[Floats]]:
    """The rows of each sequence by the adapter that serves it."""
    found: dict[Adapter, list[Floats]] = {}
    for adapter, rows in zip(adapters, inputs, strict=True):
        found.setdefault(adapter, []).append(rows)
    return found
