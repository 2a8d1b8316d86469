"""One linear of the decoder: its statistics, the codes of its base, its adapters solved for them, and its outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from edgephi.bundle.manifest import Adapter
from edgephi_export.checkpoint.lazy_tensor import LazyTensor
from edgephi_export.weights.encode import Encoder, StoredRows, decode, joined
from edgephi_quantize.input_statistics import InputStatistics, mixed
from edgephi_quantize.low_rank import LowRank, fit_outputs, solve_low_rank
from edgephi_quantize.parallel import ordered_map
from edgephi_quantize.recipe import DEFAULT_METHOD, Recipe, correction_names
from edgephi_quantize.row_weights import measure_with_rare_rows

Floats = NDArray[np.float32]
_ROWS = 256  # of a base that are quantized at a time: fixed, so that codes do not depend on the number of threads


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterTensors:
    """An adapter's matrices for one linear: A [r, inputs], and B [outputs, r] with its scale."""

    a: LazyTensor
    scaled_b: LazyTensor


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearTask:
    """What is to be solved.

    Attributes:
        matrix: The base [outputs, inputs], under its name in the folder.
        adapters: Those that are applied beside it.
    """

    matrix: LazyTensor
    adapters: Mapping[Adapter, AdapterTensors]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SolvedLinear:
    """A linear as the folder stores it.

    Attributes:
        stored: Every tensor by name: the base, and the matrices of adapters and of the correction.
        base: What the base's codes stand for: [outputs, inputs].
        terms: What is added for each adapter, as stored.
    """

    stored: Mapping[str, StoredRows]
    base: Floats
    terms: Mapping[Adapter, LowRank]

    def outputs(self, rows: Floats, adapter: Adapter, base_rows: Floats | None = None) -> Floats:
        """float32 [S, inputs] to [S, outputs]; `base_rows` are the rows as the base's kernel rounds them."""
        result: Floats = (rows if base_rows is None else base_rows) @ self.base.T
        if adapter in self.terms:
            result += rows @ self.terms[adapter].a.T @ self.terms[adapter].b.T
        return result


class LinearSolver:
    """Solves linears by one recipe.

    Args:
        recipe: Formats, method, and what is solved anew.
        threads: Workers; the results do not depend on it while BLAS takes one thread for each.
    """

    def __init__(self, recipe: Recipe, threads: int) -> None:
        self._recipe, self._threads = recipe, threads
        self._encoder = Encoder(recipe)
        # The inputs of B are not measured, and both matrices are small and in fine blocks.
        self._plain = Encoder(replace(recipe, method=DEFAULT_METHOD) if recipe.method else recipe)

    def solve(self, task: LinearTask, inputs: Mapping[Adapter, list[Floats]]) -> SolvedLinear:
        """Solve one linear.

        Args:
            task: Its tensors.
            inputs: float32 [S, inputs] of each sequence, by the adapter that serves it.

        Raises:
            ArtifactError: A weight is not finite.
        """
        return self.solve_for(task, self.measure(inputs))

    def measure(self, inputs: Mapping[Adapter, list[Floats]]) -> dict[Adapter, InputStatistics]:
        """The statistics of a linear's inputs, for `solve_for`; `inputs` are those of `solve`."""
        return {kind: measure_with_rare_rows(rows, threads=self._threads) for kind, rows in inputs.items()}

    def solve_for(self, task: LinearTask, statistics: Mapping[Adapter, InputStatistics]) -> SolvedLinear:
        """Solve one linear for inputs of these statistics.

        Raises:
            ArtifactError: A weight is not finite.
        """
        name, matrix = task.matrix.name, task.matrix.whole()
        base = self._encode(name, matrix, mixed(list(statistics.values())))
        values = np.asarray(decode(base, self._recipe.format_of(name), matrix.shape[1]), np.float32)
        matrix -= values  # the error of the base, from here on
        made = _Made(stored={name: base})
        for kind, adapter in task.adapters.items():
            a, scaled_b = adapter.a.whole(), adapter.scaled_b.whole()
            names, seen = (adapter.a.name, adapter.scaled_b.name), statistics.get(kind)
            if self._recipe.absorbed and seen is not None:
                made.terms[kind] = self._solved(names, matrix + scaled_b @ a, len(a), seen, made)
            else:
                made.terms[kind] = self._kept(names, (a, scaled_b), made)
        rest = {kind: seen for kind, seen in statistics.items() if kind not in task.adapters}
        if self._recipe.correction_rank and rest:
            names, seen = correction_names(name), mixed(list(rest.values()))
            term = self._solved(names, matrix, self._recipe.correction_rank, seen, made)
            made.terms.update(dict.fromkeys(rest, term))
        return SolvedLinear(stored=made.stored, base=values, terms=made.terms)

    def _encode(self, name: str, matrix: Floats, inputs: InputStatistics) -> StoredRows:
        """The base in its format, some rows at a time."""
        format_ = self._recipe.format_of(name)
        if self._encoder.needs_inputs:
            _ = inputs.factor  # computed once, before threads share it

        def work(start: int) -> StoredRows:
            return self._encoder.encode(name, matrix[start : start + _ROWS], format_, inputs)

        return joined(list(ordered_map(work, range(0, len(matrix), _ROWS), threads=self._threads)))

    def _solved(
        self, names: tuple[str, str], target: Floats, rank: int, inputs: InputStatistics, made: _Made
    ) -> LowRank:
        """The correction closest to `target`. B is fitted to A as it is stored, so that A's rounding counts."""
        found = solve_low_rank(target, inputs, rank, threads=self._threads)
        a = self._keep(names[0], found.a, made)
        b = self._keep(names[1], fit_outputs(target, a, inputs, threads=self._threads), made)
        return LowRank(a=a, b=b)

    def _kept(self, names: tuple[str, str], pair: tuple[Floats, Floats], made: _Made) -> LowRank:
        a, b = (self._keep(name, matrix, made) for name, matrix in zip(names, pair, strict=True))
        return LowRank(a=a, b=b)

    def _keep(self, name: str, matrix: Floats, made: _Made) -> Floats:
        """Note the stored form of an adapter's matrix; gives what it stands for."""
        format_ = self._recipe.format_of(name)
        made.stored[name] = self._plain.encode(name, matrix, format_)
        return np.asarray(decode(made.stored[name], format_, matrix.shape[1]), np.float32)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Made:
    """What has been solved of a linear so far."""

    stored: dict[str, StoredRows]
    terms: dict[Adapter, LowRank] = field(default_factory=dict)
