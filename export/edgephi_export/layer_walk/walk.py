"""The order of the walk: layer after layer, and in each linear after linear, on what was solved before it.

Where something is solved anew, the float model goes through each layer first, so that what the layers before it have
changed can be taken in as well. One layer is in memory, and while it is solved one matrix of it in float32. After each
layer its tensors and the positions' hidden states are in files, so that a walk that was killed goes on behind its last
whole layer, with the same result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from edgephi.bundle.manifest import Adapter
from edgephi_export.layer_walk.exact_layer import ExactLayer, InputFile
from edgephi_export.layer_walk.layer_pass import LayerPass
from edgephi_export.layer_walk.linear import LinearSolver
from edgephi_export.layer_walk.plan import WalkPlan
from edgephi_export.layer_walk.walk_files import WalkFiles
from edgephi_export.progress import Meter
from edgephi_export.weights.encode import StoredRows

Floats = NDArray[np.float32]
Value = TypeVar("Value")


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
            with InputFile(files.folder) as inputs:
                if files.followed:
                    _follow(plan, layer, files, inputs)
                files.add(layer, *_Layer(plan, layer, files, inputs).solve(files.hidden()))


def _follow(plan: WalkPlan, layer: int, files: WalkFiles, inputs: InputFile) -> None:
    """Bring the float model's hidden states behind the layer; `inputs` gets what its linears read."""
    hidden = files.exact_hidden(layer)
    linear = ExactLayer(plan, layer).linear(files.followed, inputs.add)
    LayerPass(plan.config, plan.source, layer, plan.threads).run(hidden, linear)
    files.keep_exact_hidden(layer + 1, hidden)


class _Layer:
    """One layer over all sequences, each linear solved on what those before it give."""

    def __init__(self, plan: WalkPlan, layer: int, files: WalkFiles, exact: InputFile) -> None:
        self._plan, self._layer, self._exact = plan, layer, exact
        self._adapters = files.adapters
        self._followed = by_adapter(files.followed, range(len(files.followed)))
        self._solver = LinearSolver(plan.recipe, plan.threads)
        self._stored: dict[str, StoredRows] = {}

    def solve(self, hidden: list[Floats]) -> tuple[dict[str, StoredRows], list[Floats]]:
        """The layer's tensors, and the hidden states behind it; those given are overwritten."""
        plan = self._plan
        LayerPass(plan.config, plan.source, self._layer, plan.threads).run(hidden, self._linear)
        return self._stored, hidden

    def _linear(self, name: str, inputs: list[Floats]) -> Callable[[int], Floats]:
        exact = {adapter: partial(self._exact.read, name, places) for adapter, places in self._followed.items()}
        solved = self._solver.solve(self._plan.task(name), by_adapter(self._adapters, inputs), exact)
        self._stored |= solved.stored
        return lambda index: solved.outputs(inputs[index], self._adapters[index])


def by_adapter(adapters: list[Adapter], values: Iterable[Value]) -> dict[Adapter, list[Value]]:
    """What there is of each sequence, by the adapter that serves it."""
    found: dict[Adapter, list[Value]] = {}
    for adapter, value in zip(adapters, values, strict=True):
        found.setdefault(adapter, []).append(value)
    return found
