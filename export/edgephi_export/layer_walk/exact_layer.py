"""A decoder layer as the checkpoint has it, and files of what its linears read."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from edgephi.bundle.manifest import Adapter
from edgephi_export.checkpoint.config import ADAPTED_LINEARS
from edgephi_export.layer_walk.layer_pass import Linear
from edgephi_export.layer_walk.linear import SolvedLinear
from edgephi_export.layer_walk.plan import WalkPlan
from edgephi_quantize.low_rank import LowRank

Floats = NDArray[np.float32]
#: Gets the name of a linear and its inputs, float32 [S, inputs] of each sequence, before they are multiplied.
Seen = Callable[[str, list[Floats]], None]


class ExactLayer:
    """The matrices of one layer, in memory as floats.

    Args:
        plan: The model.
        layer: Number of the layer, from 0.

    Raises:
        ArtifactError: A tensor cannot be read or holds values that are not finite.
    """

    def __init__(self, plan: WalkPlan, layer: int) -> None:
        names = (f"layers.{layer}.{kind}" for kind in ADAPTED_LINEARS)
        self._linears = {name: _exact(plan, name) for name in names}

    def linear(self, adapters: Sequence[Adapter], seen: Seen | None = None) -> Linear:
        """The linears for sequences that these adapters serve."""

        def linear(name: str, inputs: list[Floats]) -> Callable[[int], Floats]:
            if seen is not None:
                seen(name, inputs)
            return lambda index: self._linears[name].outputs(inputs[index], adapters[index])

        return linear


def _exact(plan: WalkPlan, name: str) -> SolvedLinear:
    task = plan.task(name)
    terms = {kind: LowRank(a=pair.a.whole(), b=pair.scaled_b.whole()) for kind, pair in task.adapters.items()}
    return SolvedLinear(stored={}, base=task.matrix.whole(), terms=terms)


class InputFile:
    """What the linears of one layer read, in a file without a name: it goes with the process, however that ends.

    At the true size this is up to 0.7 GB, which a walk does not have in memory. Use as a context manager.

    Args:
        folder: On the disk that it is to lie on.
    """

    def __init__(self, folder: Path) -> None:
        self._stream = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by __exit__
        self._places: dict[str, list[int]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()

    def add(self, name: str, inputs: Sequence[Floats]) -> None:
        """Keep the inputs of the linear `name`."""
        self._places[name] = []
        for rows in inputs:
            self._places[name].append(self._stream.tell())
            np.save(self._stream, rows)

    def read(self, name: str, indices: Sequence[int]) -> Iterator[Floats]:
        """The inputs of some of its sequences."""
        for index in indices:
            self._stream.seek(self._places[name][index])
            yield np.load(self._stream)
