"""The tensor index of folders of version 2, which lists no constants: exports named them all by one rule."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

from edgephi.base.json_file import decode, parse_json
from edgephi.bundle.manifest import Manifest
from edgephi.bundle.tensor_index import GraphConstant, StoredTensorInfo, TensorIndex, graph_parts
from edgephi.bundle.tensor_ref import TensorRef

VERSION = 2
_HEAD_PIECES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tensors:
    """The whole content of `tensors.json`."""

    tensors: tuple[StoredTensorInfo, ...]


def read_index(text: str, manifest: Manifest, where: str) -> TensorIndex:
    """The tensors, and the constants that they may be in each graph.

    A tensor has more names here than a graph has for it. ONNX Runtime passes over those that the graph does not have.

    Raises:
        ArtifactError: Not JSON, an unknown or missing key, or a wrong type.
    """
    tensors = decode(_Tensors, parse_json(text, where), where).tensors
    graphs = {graph: graph_parts(manifest, graph) for graph in manifest.graphs}
    constants = [
        _constant(name, ref, tuple(graph for graph, parts in graphs.items() if tensor.part in parts))
        for tensor in tensors
        for name, ref in _named(tensor, is_head=tensor.values == manifest.decoder.embedding.values)
    ]
    return TensorIndex(tensors=tensors, constants=(*constants, *_scales(manifest)))


def _named(tensor: StoredTensorInfo, *, is_head: bool) -> Iterator[tuple[str, TensorRef]]:
    yield tensor.name, tensor.values
    parts = {"weight": tensor.values, "scales": tensor.scales, "zero_points": tensor.zero_points}
    bounds = [tensor.shape[0] * piece // _HEAD_PIECES for piece in range(_HEAD_PIECES + 1)] if is_head else []
    for kind, ref in parts.items():
        if ref is not None:
            yield f"{tensor.name}.{kind}", ref
            yield from ((f"{tensor.name}.{start}.{kind}", ref.rows(start, stop)) for start, stop in pairwise(bounds))


def _scales(manifest: Manifest) -> Iterator[GraphConstant]:
    """Those of an int8 cache, layer by layer."""
    info = manifest.decoder.int8_cache
    if info is None:
        return
    graphs = tuple(graph for graph in (info.graph, info.text_graph) if graph is not None)
    for kind, scales in (("key", info.key_scales), ("value", info.value_scales)):
        layers, heads, size = scales.shape
        for layer in range(layers):
            ref = replace(scales.rows(layer, layer + 1), shape=(1, heads, 1, size))
            yield _constant(f"layers.{layer}.{kind}_scale", ref, graphs)


def _constant(name: str, ref: TensorRef, graphs: tuple[str, ...]) -> GraphConstant:
    return GraphConstant(name=name, graphs=graphs, tensor=ref, length=ref.num_bytes)
