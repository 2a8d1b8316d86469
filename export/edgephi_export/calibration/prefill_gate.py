"""Finds the linears of the graph for prefill whose inputs lose too much when a row of them is rounded to 8 bits.

    error of a row   |x - code * scale|^2 / |x|^2, x the inputs [K] of a linear at one position
    gate             the mean error over the positions of all calibration requests, at most 1 % (20 dB)

An outlier makes the steps of its whole row coarse: what int4 weights cost is what a linear's inputs may cost at most. A
linear beyond the gate gets a rule of the recipe, so that it is stored in blocks, whose activations get a scale for
every 32. A row of K inputs loses K / 193,548 of its energy at most, so those of an adapter's second matrix, as many as
its rank, need not be looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from edgephi import Model, ModelOptions, Request
from edgephi.bundle.bundle import Bundle
from edgephi.bundle.manifest import ADAPTER_IDS, Adapter, Manifest
from edgephi.bundle.tensor_index import TensorIndex
from edgephi.cache.kv_cache import KVCache, cache_shape
from edgephi.decoder.derivation import derive, file_sizes
from edgephi.decoder.forward import DecoderPass, PassMemory, PassShape
from edgephi.decoder.rope import RotaryTables
from edgephi.ort.session import DeviceOptions, open_session
from edgephi_export.calibration.requests import calibration_requests
from edgephi_export.calibration.samples import CalibrationFiles
from edgephi_export.progress import Meter
from edgephi_quantize.formats import BlockFormat
from edgephi_quantize.recipe import Rule

#: Mean share of the inputs' energy.
MOST_ERROR = 0.01
_SAFE = BlockFormat(bits=8, block_size=32)
_OBSERVED = ".observed.onnx"
_CHUNK = 256
_TEXT_STEP = 4


@dataclass(frozen=True, slots=True)
class GatedGraph:
    """A graph for prefill.

    Attributes:
        graph: Its file.
        index: Of the tensors that are derived for it while it runs; None where its weights are stored.
    """

    graph: str
    index: TensorIndex | None


def rules_beyond_gate(
    folder: Path, gated: GatedGraph, own: CalibrationFiles | None, threads: int | None, meter: Meter
) -> tuple[Rule, ...]:
    """Rules for the linears that would lose too much; usually none.

    Args:
        folder: A bundle, complete but for an int8 cache.
        gated: Its graph for prefill.
        own: The user's files to calibrate with; None for none.
        threads: Threads that the model runs with; None for the physical cores.
        meter: Reports the progress.

    Raises:
        EdgeError: The folder cannot answer a prompt.
        CapacityError: This machine has not enough memory to run the model.
    """
    meter.stage("inputs of the graph for prefill")
    options = ModelOptions(threads=threads, cache_bytes=0, prefill="off")
    with _derived(folder, gated.index, options), Model.load(folder, options) as model:
        manifest = model.manifest
        observed = _ObservedGraph(folder, gated.graph, manifest, threads)
        requests = _chosen(calibration_requests(manifest, own or CalibrationFiles()))
        for number, request in enumerate(requests, start=1):
            meter.prompt(number, len(requests))
            model.visit_rows(request, partial(observed.run, manifest))
    return tuple(Rule(f"{name}*", _SAFE) for name in sorted(observed.beyond()))


@contextmanager
def _derived(folder: Path, index: TensorIndex | None, options: ModelOptions) -> Iterator[None]:
    """The files of derived tensors, in the folder while the block runs."""
    if index is None:
        yield
        return
    try:
        derive(Bundle(folder), index, folder, threads=options.device_options.num_threads)
        yield
    finally:
        for name in file_sizes(index):
            (folder / name).unlink(missing_ok=True)


def _chosen(requests: tuple[Request, ...]) -> list[Request]:
    """Every request with images or audio, and some of the texts with each adapter: means need fewer than ranges do."""
    texts = [request for request in requests if not (request.images or request.audio)]
    return [*texts[::_TEXT_STEP], *(request for request in requests if request.images or request.audio)]


@dataclass(frozen=True, slots=True)
class _Input:
    """The inputs of some linears: the values that hold their energy and error for each row, and the linears' names."""

    energy: str
    error: str
    linears: frozenset[str]


class _ObservedGraph:
    """The graph for prefill with the energy and the error of its linears' inputs as further outputs.

    It serves a DecoderPass as the open graph and as its session.
    """

    def __init__(self, folder: Path, name: str, manifest: Manifest, threads: int | None) -> None:
        graph = onnx.load(folder / name, load_external_data=False)
        self._inputs = tuple(_observe(graph.graph))
        path = folder / _OBSERVED
        onnx.save(graph, path)
        try:
            self._session = open_session(path, DeviceOptions(threads=threads), form="mapped")
        finally:
            path.unlink()
        self.session = self
        self.takes_adapter = manifest.adapters.mode == "routed"
        self._errors: list[list[NDArray[np.float64]]] = [[] for _ in self._inputs]

    def io_binding(self) -> Any:
        """A binding with the further outputs."""
        binding = self._session.io_binding()
        for one in self._inputs:
            binding.bind_output(one.energy)
            binding.bind_output(one.error)
        return binding

    def run_with_iobinding(self, binding: Any, options: Any) -> None:
        """Run, and take in the further outputs, which are the first that were bound."""
        self._session.run_with_iobinding(binding, options)
        found = binding.get_outputs()
        for index, errors in enumerate(self._errors):
            energy, error = (found[2 * index + place].numpy().astype(np.float64).ravel() for place in (0, 1))
            errors.append(error / np.maximum(energy, np.finfo(np.float32).tiny))

    def run(self, manifest: Manifest, rows: NDArray[np.float32], adapter: Adapter) -> None:
        """One prompt: float32 [1, S, H], in chunks."""
        total, info = rows.shape[1], manifest.decoder
        cache, rope = KVCache(cache_shape(manifest), capacity=total), RotaryTables(manifest.rope, info.dtype)
        rope.prepare(total)
        for start in range(0, total, _CHUNK):
            part = rows[:, start : start + _CHUNK]
            step = DecoderPass(self, PassMemory(info, 1), PassShape(part.shape[1], 0))
            step.attach(cache, rope)
            step.run(part, start + part.shape[1], ADAPTER_IDS[adapter])

    def beyond(self) -> set[str]:
        """Names of the linears whose inputs lose too much, without what tells their parts apart."""
        return {
            _without_part(linear)
            for one, errors in zip(self._inputs, self._errors, strict=True)
            if np.concatenate(errors).mean() > MOST_ERROR
            for linear in one.linears
        }


def _observe(graph: onnx.GraphProto) -> Iterator[_Input]:
    """Add the outputs."""
    nodes, axis = list(graph.node), "observed.axis"
    graph.initializer.append(helper.make_tensor(axis, onnx.TensorProto.INT64, [1], [-1]))
    for node in nodes:
        if node.op_type != "QuantizeLinear":
            continue
        inputs, scale, zeros = node.input
        codes = node.output[0]
        block = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
        names = {kind: f"{codes}.observed.{kind}" for kind in ("decoded", "difference", "energy", "error")}
        graph.node.extend(
            [
                helper.make_node("DequantizeLinear", [codes, scale, zeros], [names["decoded"]], **block),
                helper.make_node("Sub", [inputs, names["decoded"]], [names["difference"]]),
                helper.make_node("ReduceSumSquare", [inputs, axis], [names["energy"]]),
                helper.make_node("ReduceSumSquare", [names["difference"], axis], [names["error"]]),
            ]
        )
        for kind in ("energy", "error"):
            graph.output.append(helper.make_tensor_value_info(names[kind], onnx.TensorProto.FLOAT, None))
        yield _Input(names["energy"], names["error"], frozenset(_readers(graph, codes)))


def _readers(graph: onnx.GraphProto, codes: str) -> Iterator[str]:
    """Names of the linears that read these codes, in branches too."""
    for node in graph.node:
        if node.op_type == "MatMulIntegerToFloat" and node.input[0] == codes:
            yield node.input[1].removesuffix(".weight")
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _readers(attribute.g, codes)


def _without_part(linear: str) -> str:
    """`prefill.layers.0.mlp.gate_up_proj` of `prefill.layers.0.mlp.gate_up_proj.gate.3`, and of its adapters."""
    head, _, rest = linear.partition("_proj")
    return f"{head}_proj" if rest else linear
