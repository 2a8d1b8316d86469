"""Measures the groups one by one: the float model, with one group's matrices solved in a format, over all sequences.

A group's formats run side by side, from its first layer on. One layer is in memory, as floats, and one matrix of it
once more. All that a run needs besides the checkpoint are the sequences, so that it can go on with any group.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from edgephi.bundle.manifest import Adapter
from edgephi_export.layer_walk.exact_layer import ExactLayer
from edgephi_export.layer_walk.layer_math import rms_norm
from edgephi_export.layer_walk.layer_pass import LayerPass, Linear
from edgephi_export.layer_walk.linear import LinearSolver, SolvedLinear
from edgephi_export.layer_walk.plan import WalkPlan
from edgephi_export.layer_walk.sequences import CalibrationSequence
from edgephi_export.layer_walk.walk import by_adapter
from edgephi_export.sensitivity.groups import TensorGroup
from edgephi_export.sensitivity.head_kl import HeadInput, divergences
from edgephi_export.sensitivity.record import FormatLoss, GroupLoss
from edgephi_export.sensitivity.rounding import rounded_inputs
from edgephi_export.weights.encode import Encoder, decode
from edgephi_quantize.formats import BlockFormat, Format
from edgephi_quantize.recipe import DEFAULT_METHOD, HEAD, Rule

Floats = NDArray[np.float32]
_TABLE = "embed_tokens.weight"


class SensitivityRun:
    """The groups of one model.

    Args:
        plan: The model; its recipe says how a matrix is solved, and what is solved anew beside it.
        sequences: What it is measured on.

    Attributes:
        modes: The adapters that serve the sequences.
    """

    def __init__(self, plan: WalkPlan, sequences: Sequence[CalibrationSequence]) -> None:
        self._plan, self._sequences = plan, sequences
        self._adapters: list[Adapter] = [one.adapter for one in sequences]
        self._rounder = Encoder(replace(plan.recipe, method=DEFAULT_METHOD))
        self.modes: tuple[Adapter, ...] = tuple(dict.fromkeys(self._adapters))

    def measure(self, groups: Sequence[TensorGroup]) -> Iterator[GroupLoss]:
        """The loss of each group, which come in the order of their first layers.

        Raises:
            ArtifactError: A tensor cannot be read or holds values that are not finite.
        """
        with threadpool_limits(limits=1, user_api="blas"):
            reference, layer = self._embedded(None), 0
            for group in groups:
                for passed in range(layer, group.first_layer):
                    self._pass(passed, reference, ExactLayer(self._plan, passed).linear(self._adapters))
                layer = group.first_layer
                kept = [rows.copy() for rows in reference]
                yield self._head(group, kept) if group.linears == (HEAD,) else self._linears(group, kept)

    def _head(self, group: TensorGroup, reference: list[Floats]) -> GroupLoss:
        """The head and the rows that the decoder reads: they are the same bytes."""
        states = {format_: self._embedded(format_) for format_ in group.formats}
        for layer in range(self._plan.config.decoder.num_layers):
            exact = ExactLayer(self._plan, layer).linear(self._adapters)
            for hidden in (reference, *states.values()):
                self._pass(layer, hidden, exact)
        return self._loss(group, reference, {format_: (rows, format_) for format_, rows in states.items()})

    def _linears(self, group: TensorGroup, reference: list[Floats]) -> GroupLoss:
        states = {format_: [rows.copy() for rows in reference] for format_ in group.formats}
        for layer in range(group.first_layer, self._plan.config.decoder.num_layers):
            exact, seen = ExactLayer(self._plan, layer), dict[str, list[Floats]]()
            self._pass(layer, reference, exact.linear(self._adapters, seen.__setitem__))
            solvers = {name: self._solver(name, inputs) for name, inputs in seen.items() if name in group.linears}
            del seen
            for format_, hidden in states.items():
                solved = {name: solve(format_) for name, solve in solvers.items()}
                self._pass(layer, hidden, self._replaced(exact, solved, format_))
        return self._loss(group, reference, {format_: (rows, None) for format_, rows in states.items()})

    def _solver(self, name: str, inputs: list[Floats]) -> Callable[[BlockFormat], SolvedLinear]:
        """Solves a linear in a format, on the inputs that the float model gives it."""
        recipe, threads = self._plan.recipe, self._plan.threads
        statistics = LinearSolver(recipe, threads).measure(by_adapter(self._adapters, inputs))

        def solve(format_: BlockFormat) -> SolvedLinear:
            chosen = replace(recipe, rules=(*recipe.rules, Rule(name, format_)))
            return LinearSolver(chosen, threads).solve_for(self._plan.task(name), statistics)

        return solve

    def _pass(self, layer: int, hidden: list[Floats], linear: Linear) -> None:
        LayerPass(self._plan.config, self._plan.source, layer, self._plan.threads).run(hidden, linear)

    def _replaced(self, layer: ExactLayer, solved: dict[str, SolvedLinear], format_: Format) -> Linear:
        """The layer with some linears solved, whose inputs are rounded as the kernel of the format does."""
        exact = layer.linear(self._adapters)

        def linear(name: str, inputs: list[Floats]) -> Callable[[int], Floats]:
            if name not in solved:
                return exact(name, inputs)
            return lambda index: solved[name].outputs(
                inputs[index], self._adapters[index], rounded_inputs(inputs[index], format_)
            )

        return linear

    def _loss(
        self,
        group: TensorGroup,
        reference: list[Floats],
        states: dict[BlockFormat, tuple[list[Floats], Format | None]],
    ) -> GroupLoss:
        head = self._plan.source.lazy(_TABLE)
        inputs = [HeadInput(rows=self._predicting(rows), format=format_) for rows, format_ in states.values()]
        found = divergences(head, self._predicting(reference), inputs, self._rounded, self._plan.threads)
        counts = [len(one) - one.answer_start for one in self._sequences]
        modes = np.repeat([self.modes.index(one) for one in self._adapters], np.maximum(counts, 0))
        return GroupLoss(
            name=group.name,
            formats=tuple(
                FormatLoss(
                    format=str(format_),
                    kl=tuple(float(kl[modes == mode].mean()) for mode in range(len(self.modes))),
                )
                for format_, kl in zip(states, found, strict=True)
            ),
        )

    def _predicting(self, hidden: list[Floats]) -> Floats:
        """What the head reads at the positions that predict answers: float32 [R, H]."""
        rows = [states[sequence.answer_start :] for states, sequence in zip(hidden, self._sequences, strict=True)]
        weight, epsilon = self._plan.source.read("norm.weight"), self._plan.config.decoder.rms_norm_eps
        return rms_norm(np.concatenate(rows), weight, epsilon)

    def _embedded(self, format_: Format | None) -> list[Floats]:
        """What the decoder reads, the rows of tokens as the table has them in a format; None for as they are."""
        known = np.unique(np.concatenate([one.token_ids for one in self._sequences]))
        known = known[known >= 0]
        table = self._plan.source.lazy(_TABLE)
        rows = np.concatenate([table.read_rows(token, token + 1) for token in known.tolist()])
        if format_ is not None:
            rows = self._rounded(rows, format_)
        embedded = []
        for sequence in self._sequences:
            hidden, is_text = sequence.rows.copy(), sequence.token_ids >= 0
            hidden[is_text] = rows[np.searchsorted(known, sequence.token_ids[is_text])]
            embedded.append(hidden)
        return embedded

    def _rounded(self, rows: Floats, format_: Format) -> Floats:
        return np.asarray(decode(self._rounder.encode(HEAD, rows, format_), format_, rows.shape[1]), np.float32)
