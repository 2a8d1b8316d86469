"""Writes the files of a planned bundle into a folder and describes them in the manifest.

The folder becomes visible elsewhere (see edgephi.base.atomic_write).
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from edgephi.bundle.block_hashes import BLOCK_BYTES, BLOCKS_NAME, BlockHashes
from edgephi.bundle.bundle import CHAT_TEMPLATE_NAME, MANIFEST_NAME, TOKENIZER_NAME
from edgephi.bundle.manifest import SCHEMA_VERSION, AdaptersInfo, FileInfo, Manifest
from edgephi.bundle.tensor_index import TENSORS_NAME, GraphConstant, TensorIndex
from edgephi.bundle.tensor_ref import TensorRef
from edgephi_export.checkpoint.template_names import read_template_names
from edgephi_export.graphs.builder import GraphBuilder
from edgephi_export.hub.download import CheckpointSource
from edgephi_export.layouts.edgephi.plan import BundlePlan, DerivedPlan
from edgephi_export.progress import Meter
from edgephi_export.provenance import describe, generator, source_info
from edgephi_export.weights.plan import WeightPlan
from edgephi_export.weights.writer import write_weights


def write_bundle(bundle: BundlePlan, located: CheckpointSource, folder: Path, threads: int, meter: Meter) -> None:
    """Write every file; the manifest comes last.

    Args:
        bundle: What to write.
        located: What to call the source.
        folder: Where to; it exists and is empty.
        threads: Workers.
        meter: Gets the progress.

    Raises:
        ArtifactError: A tensor of the checkpoint cannot be read or holds values that are not finite.
        ConfigError: A value is too large for its format.
    """
    weights = write_weights(bundle.weights, folder, threads, meter)
    meter.stage("graphs")
    for name, graph in bundle.graphs.items():
        graph.save(folder / name)
    if bundle.derived is not None:
        _write_derived(folder, bundle.derived)
    int8 = bundle.int8_cache
    later = set() if int8 is None else {int8.graph, int8.text_graph, int8.prefill_graph}
    write_index(folder, bundle, {name: graph for name, graph in bundle.graphs.items() if name not in later})
    shutil.copyfile(bundle.checkpoint.path / TOKENIZER_NAME, folder / TOKENIZER_NAME)
    (folder / CHAT_TEMPLATE_NAME).write_text(bundle.checkpoint.chat_template, encoding="utf-8")
    blocks = BlockHashes(block_bytes=BLOCK_BYTES, files=tuple(file.blocks for file in weights))
    (folder / BLOCKS_NAME).write_text(blocks.to_json(), encoding="utf-8")
    derived = () if bundle.derived is None else bundle.derived.info.files
    others = (*bundle.graphs, *derived, TENSORS_NAME, BLOCKS_NAME, TOKENIZER_NAME, CHAT_TEMPLATE_NAME)
    files = [*(file.info for file in weights), *(describe(folder, name) for name in others)]
    (folder / MANIFEST_NAME).write_text(_manifest(bundle, located, files).to_json(), encoding="utf-8")


def write_index(folder: Path, bundle: BundlePlan, graphs: Mapping[str, GraphBuilder]) -> None:
    """Write `tensors.json` with every tensor, and the constants of the graphs that the manifest names."""
    (folder / TENSORS_NAME).write_text(index_of(bundle.weights, graphs).to_json(), encoding="utf-8")


def _write_derived(folder: Path, derived: DerivedPlan) -> None:
    for name, graph in derived.graphs.items():
        graph.save(folder / name)
    text = index_of(derived.weights, derived.graphs).to_json()
    (folder / derived.info.index).write_text(text, encoding="utf-8")


def index_of(weights: WeightPlan, graphs: Mapping[str, GraphBuilder]) -> TensorIndex:
    """Every tensor of a plan, and the constants of graphs."""
    tensors = tuple(item.info for held in weights.files.values() for item in held)
    return TensorIndex(tensors=tensors, constants=graph_constants(graphs))


def graph_constants(graphs: Mapping[str, GraphBuilder]) -> tuple[GraphConstant, ...]:
    """The constants that lie in weight files, in the order of their places.

    Raises:
        ValueError: A name has one place in one graph and another in another.
    """
    found: dict[str, tuple[TensorRef, list[str]]] = {}
    for graph, builder in graphs.items():
        for name, ref in builder.places.items():
            place, users = found.setdefault(name, (ref, []))
            if place != ref:
                raise ValueError(f"{name} has two places, {place} and {ref}")
            users.append(graph)
    constants = (
        GraphConstant(name=name, graphs=tuple(users), tensor=ref, length=ref.num_bytes)
        for name, (ref, users) in found.items()
    )
    return tuple(sorted(constants, key=lambda constant: (constant.tensor.file, constant.tensor.offset)))


def _manifest(bundle: BundlePlan, located: CheckpointSource, files: list[FileInfo]) -> Manifest:
    config = bundle.checkpoint.config
    return Manifest(
        schema_version=SCHEMA_VERSION,
        generator=generator(),
        source=source_info(bundle.checkpoint, located),
        recipe=bundle.weights.recipe.to_info(),
        adapters=AdaptersInfo(mode=bundle.selection.mode, available=config.adapters),
        rope=config.rope,
        decoder=bundle.decoder,
        vision=bundle.vision,
        speech=bundle.speech,
        tokens=config.tokens,
        generation=config.generation,
        files=tuple(sorted(files, key=lambda info: info.path)),
        template_names=read_template_names(bundle.checkpoint.path),
        derived_prefill=None if bundle.derived is None or bundle.int8_cache is not None else bundle.derived.info,
    )
