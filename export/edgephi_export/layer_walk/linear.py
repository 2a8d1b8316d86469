"""One linear of the decoder: its statistics, the codes of its base, its adapters solved for them, and its outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from edgephi.bundle.manifest import Adapter
from edgephi_export.checkpoint.lazy_tensor import LazyTensor
from edgephi_export.weights.encode import Encoder, StoredRows, decode, joined
from edgephi_quantize.compensation import ChangedInputs, compensation
from edgephi_quantize.input_statistics import InputStatistics, mixed
from edgephi_quantize.low_rank import LowRank, fit_outputs, solve_low_rank
from edgephi_quantize.parallel import ordered_map
from edgephi_quantize.recipe import DEFAULT_METHOD, Recipe, correction_names
from edgephi_quantize.row_weights import measure_with_rare_rows

Floats = NDArray[np.float32]
#: Gives a linear's inputs of each sequence in the float model: float32 [S, inputs].
ExactInputs = Callable[[], Iterable[Floats]]
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


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenInputs:
    """The inputs of a linear for requests of one kind.

    Attributes:
        statistics: What codes and low-rank terms are solved on.
        changed: Beside those of the float model; None where they are those.
    """

    statistics: InputStatistics
    changed: ChangedInputs | None = None


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

    def solve(
        self, task: LinearTask, inputs: Mapping[Adapter, list[Floats]], exact: Mapping[Adapter, ExactInputs]
    ) -> SolvedLinear:
        """Solve one linear.

        Args:
            task: Its tensors.
            inputs: float32 [S, inputs] of each sequence, by the adapter that serves it.
            exact: The same in the float model, for adapters that are to take in the difference as well.

        Raises:
            ArtifactError: A weight is not finite.
        """
        return self._solve(task, self.measure(inputs, exact))

    def measure(
        self, inputs: Mapping[Adapter, list[Floats]], exact: Mapping[Adapter, ExactInputs] | None = None
    ) -> dict[Adapter, SeenInputs]:
        """What `solve_for` needs of a linear's inputs; the arguments are those of `solve`."""
        return {kind: self._measured(rows, (exact or {}).get(kind)) for kind, rows in inputs.items()}

    def _measured(self, rows: list[Floats], exact: ExactInputs | None) -> SeenInputs:
        statistics, weights = measure_with_rare_rows(rows, threads=self._threads)
        changed = None if exact is None else ChangedInputs(rows=rows, exact=exact, weights=weights)
        return SeenInputs(statistics=statistics, changed=changed)

    def solve_for(self, task: LinearTask, seen: Mapping[Adapter, SeenInputs]) -> SolvedLinear:
        """Solve one linear for these inputs.

        Raises:
            ArtifactError: A weight is not finite.
        """
        return self._solve(task, dict(seen))

    def _solve(self, task: LinearTask, seen: dict[Adapter, SeenInputs]) -> SolvedLinear:
        """`seen` is emptied on the way: an adapter's statistics take 268 MB where the linear is widest."""
        name, matrix = task.matrix.name, task.matrix.whole()
        base = self._encode(name, matrix, mixed([one.statistics for one in seen.values()]))
        values = np.asarray(decode(base, self._recipe.format_of(name), matrix.shape[1]), np.float32)
        matrix -= values  # the error of the base, from here on
        made = _Made(stored={name: base}, base=values)
        rest = {kind: seen.pop(kind) for kind in tuple(seen) if kind not in task.adapters}
        if self._recipe.correction_rank and rest:
            ((kind, given),) = rest.items()  # none, or the adapter that is merged
            names = correction_names(name)
            made.terms[kind] = self._solved(names, matrix, self._recipe.correction_rank, given, made)
        rest.clear()
        for kind, adapter in task.adapters.items():
            a, scaled_b = adapter.a.whole(), adapter.scaled_b.whole()
            names, one = (adapter.a.name, adapter.scaled_b.name), seen.pop(kind, None)
            if self._recipe.absorbed and one is not None:
                made.terms[kind] = self._solved(names, matrix + scaled_b @ a, len(a), one, made)
            else:
                made.terms[kind] = self._kept(names, (a, scaled_b), made)
        return SolvedLinear(stored=made.stored, base=values, terms=made.terms)

    def _encode(self, name: str, matrix: Floats, inputs: InputStatistics) -> StoredRows:
        """The base in its format, some rows at a time."""
        format_ = self._recipe.format_of(name)
        if self._encoder.needs_inputs:
            _ = inputs.factor  # computed once, before threads share it

        def work(start: int) -> StoredRows:
            return self._encoder.encode(name, matrix[start : start + _ROWS], format_, inputs)

        return joined(list(ordered_map(work, range(0, len(matrix), _ROWS), threads=self._threads)))

    def _solved(self, names: tuple[str, str], error: Floats, rank: int, seen: SeenInputs, made: _Made) -> LowRank:
        """What takes in `error`, the float matrix minus the base, and what the layers before it have changed.

        B is fitted to A as it is stored, so that A's rounding counts.
        """
        inputs, threads = seen.statistics, self._threads
        if seen.changed is not None:
            error = error + compensation(made.base + error, seen.changed, inputs)
        found = solve_low_rank(error, inputs, rank, threads=threads)
        a = self._keep(names[0], found.a, made)
        b = self._keep(names[1], fit_outputs(error, a, inputs, threads=threads), made)
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
    base: Floats
    terms: dict[Adapter, LowRank] = field(default_factory=dict)
