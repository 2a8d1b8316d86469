"""The decoder's linears with what the adapter mode adds to each: nothing, a merged adapter, or one chosen per request.

A form says where their weights lie: a graph for prefill has a second set, with names and files of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import onnx_ir as ir

from edgephi.bundle.manifest import ADAPTER_IDS, AdapterInfo, AdapterMode, EncoderName
from edgephi.bundle.prefill_info import PREFILL
from edgephi.bundle.tensor_index import Part
from edgephi_export.checkpoint.lazy_tensor import LazyTensor, solved_tensor
from edgephi_export.graphs.adapters import AdapterPair, merged
from edgephi_export.graphs.builder import GraphBuilder
from edgephi_export.graphs.layers import LayerBuilder
from edgephi_export.weights.plan import WeightPlan
from edgephi_quantize.formats import RowFormat
from edgephi_quantize.recipe import correction_names


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearForm:
    """One set of the decoder's matrices.

    Attributes:
        prefix: Of the names of its tensors.
        part: The component of the base's matrices.
        adapter_parts: The components of the adapters', by adapter.
        tile: Most outputs of a stored matrix of gate or up, which are then matrices of their own; None for one matrix.
    """

    prefix: str
    part: Part
    adapter_parts: Mapping[str, Part]
    tile: int | None


DECODE_FORM = LinearForm(
    prefix="",
    part="decoder",
    adapter_parts=MappingProxyType({"vision": "adapter_vision", "speech": "adapter_speech"}),
    tile=None,
)
#: Of gate and up: unpacked rows of 2,048 codes are read a tenth faster than rows of 8,192, shorter ones no faster.
PREFILL_FORM = LinearForm(
    prefix=PREFILL,
    part="prefill",
    adapter_parts=MappingProxyType({"vision": "prefill_vision", "speech": "prefill_speech"}),
    tile=2048,
)


class AdaptedLinears:
    """Adds linears to one graph.

    Args:
        layers: Of the graph.
        mode: How adapters are built in.
        adapters: Those that the model has.
        form: The set of matrices.
        derived: Gives them places where a device derives them by rows; what the recipe stores otherwise is then the
            decoder's own matrix.
    """

    def __init__(
        self,
        layers: LayerBuilder,
        mode: AdapterMode,
        adapters: tuple[AdapterInfo, ...],
        form: LinearForm,
        derived: WeightPlan | None = None,
    ) -> None:
        self._layers = replace(layers, part=form.part, plan=derived or layers.plan)
        self._mode, self._adapters, self._form = mode, adapters, form
        self._is_adapter: dict[str, ir.Value] = {}
        self._any_adapter: ir.Value | None = None
        self._own = None if derived is None else AdaptedLinears(layers, mode, adapters, DECODE_FORM)

    def add_input(self) -> None:
        """The input that chooses among the adapters; before the first linear, where they are routed."""
        graph = self._layers.graph
        adapter = graph.input("adapter", ir.DataType.INT64, [])
        self.choose_by(
            {
                info.name: graph.op("Equal", adapter, graph.constant(ADAPTER_IDS[info.name]), name=f"is_{info.name}")
                for info in self._adapters
            }
        )

    def choose_by(self, is_adapter: Mapping[EncoderName, ir.Value]) -> None:
        """Choose among the adapters by values of the graph, bool [], of which one at most holds.

        Before the first linear, where they are routed; `is_adapter` may name adapters that the model has not.
        """
        self._is_adapter = {info.name: is_adapter[info.name] for info in self._adapters}
        first, *others = self._is_adapter.values()
        self._any_adapter = self._layers.graph.op("Or", first, others[0], name="any_adapter") if others else first
        if self._own is not None:
            self._own._is_adapter, self._own._any_adapter = self._is_adapter, self._any_adapter

    def apply(self, inputs: ir.Value, name: str) -> ir.Value:
        """A linear by its canonical name: floats [B, S, inputs] to [B, S, outputs]."""
        return self._set_of(name)._apply(inputs, name, None)

    def gate_and_up(self, inputs: ir.Value, name: str) -> tuple[ir.Value, ir.Value]:
        """The two halves of what the linear `name` gives."""
        chosen = self._set_of(name)
        if chosen._form.tile is None:
            return chosen._layers.halves(chosen._apply(inputs, name, None), name.removesuffix(".gate_up_proj"))
        return chosen._apply(inputs, name, 0), chosen._apply(inputs, name, 1)

    def _set_of(self, name: str) -> AdaptedLinears:
        """Where a linear's matrices come from."""
        if self._own is None or isinstance(self._layers.plan.format_of(f"{self._form.prefix}{name}"), RowFormat):
            return self
        return self._own

    def _apply(self, inputs: ir.Value, name: str, half: int | None) -> ir.Value:
        matrix = self._layers.source.lazy(f"{name}.weight").renamed(name)
        pairs: dict[str, AdapterPair] = {
            info.name: AdapterPair(self._layers.source, name, info) for info in self._adapters
        }
        if self._mode not in ("none", "routed"):
            matrix = merged(matrix, pairs[self._mode])
        base = self._tiled(inputs, self._placed(matrix, half), half)
        if self._mode == "routed":
            return self._route(inputs, base, list(pairs.values()), half)
        return self._corrected(inputs, base, matrix, self._layers)

    def _tiled(self, inputs: ir.Value, matrix: LazyTensor, half: int | None) -> ir.Value:
        """A half of gate and up in as many products as its stored matrices, side by side."""
        outputs, tile = matrix.shape[0], self._form.tile
        if half is None or tile is None or outputs <= tile:
            return self._layers.apply(inputs, matrix)
        columns = [
            self._layers.apply(inputs, matrix.rows(start, min(start + tile, outputs)).renamed(f"{matrix.name}.{index}"))
            for index, start in enumerate(range(0, outputs, tile))
        ]
        return self._layers.graph.op("Concat", *columns, name=matrix.name, axis=-1)

    def _placed(self, matrix: LazyTensor, half: int | None = None) -> LazyTensor:
        """The matrix, or the half of its rows, under the name that it has in this form."""
        name = f"{self._form.prefix}{matrix.name}"
        if half is None:
            return matrix.renamed(name)
        count = matrix.shape[0] // 2
        return matrix.rows(half * count, (half + 1) * count).renamed(f"{name}.{('gate', 'up')[half]}")

    def _route(self, inputs: ir.Value, base: ir.Value, pairs: list[AdapterPair], half: int | None) -> ir.Value:
        """`base`, plus the low-rank term of the adapter that the request asks for."""
        name = pairs[0].linear if half is None else f"{pairs[0].linear}.{half}"

        def adapted(pair: AdapterPair, branch: GraphBuilder) -> ir.Value:
            layers = replace(self._layers, graph=branch, part=self._form.adapter_parts[pair.info.name])
            low = layers.apply(inputs, self._placed(pair.a))
            term = layers.apply(low, self._placed(pair.scaled_b, half))
            return branch.op("Add", base, term, name=f"{name}.{pair.info.name}")

        def some_adapter(branch: GraphBuilder) -> ir.Value:
            first = pairs[0]
            if len(pairs) == 1:
                return adapted(first, branch)
            return branch.choose(
                self._is_adapter[first.info.name],
                lambda inner: adapted(first, inner),
                lambda inner: adapted(pairs[1], inner),
                name=f"{name}.which",
            )

        if self._any_adapter is None:
            raise ValueError("a routed linear needs the adapter input")
        return self._layers.graph.choose(
            self._any_adapter,
            some_adapter,
            lambda branch: self._without_adapter(inputs, base, pairs[0], branch),
            name=f"{name}.adapter",
        )

    def _without_adapter(self, inputs: ir.Value, base: ir.Value, pair: AdapterPair, branch: GraphBuilder) -> ir.Value:
        matrix = pair.source.lazy(f"{pair.linear}.weight").renamed(pair.linear)
        corrected = self._corrected(inputs, base, matrix, replace(self._layers, graph=branch))
        return branch.op("Identity", base, name=pair.linear) if corrected is base else corrected

    def _corrected(self, inputs: ir.Value, base: ir.Value, matrix: LazyTensor, layers: LayerBuilder) -> ir.Value:
        """`base`, plus the correction of its own error where the recipe has one."""
        rank = layers.plan.recipe.correction_rank
        if not rank or self._form.prefix:
            return base
        outputs, size = matrix.shape
        names, shapes = correction_names(matrix.name), ((rank, size), (outputs, rank))
        term = inputs
        for name, shape in zip(names, shapes, strict=True):
            term = layers.apply(term, solved_tensor(name, shape))
        return layers.graph.op("Add", base, term, name=f"{matrix.name}.corrected")
