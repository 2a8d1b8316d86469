"""Finds the scales of an int8 cache by running a finished folder, and adds them to it."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path

from edgephi import Model
from edgephi.bundle.block_hashes import BLOCKS_NAME, BlockHashes, BlockSums
from edgephi.bundle.bundle import MANIFEST_NAME
from edgephi.bundle.manifest import Manifest
from edgephi.bundle.tensor_index import TENSORS_NAME
from edgephi.cache.kv_cache import KVCache, cache_names
from edgephi_export.calibration.requests import calibration_requests
from edgephi_export.calibration.samples import CalibrationFiles
from edgephi_export.layouts.edgephi.plan import BundlePlan
from edgephi_export.layouts.edgephi.writer import write_index
from edgephi_export.progress import Meter
from edgephi_export.provenance import describe
from edgephi_export.weights.kv_scales import SCALES_FILE, write_scales
from edgephi_quantize.cache_ranges import CacheRanges


def add_int8_cache(folder: Path, plan: BundlePlan, own: CalibrationFiles, threads: int | None, meter: Meter) -> None:
    """Measure, write the scales, and name the int8 graphs, which are there already, in the manifest.

    Args:
        folder: A bundle that is complete but for the scales.
        plan: What the folder was written from; it has an int8 cache.
        own: The user's files.
        threads: Threads that the model runs with; None for the physical cores.
        meter: Reports the progress.

    Raises:
        EdgeError: The folder cannot answer a prompt.
        CapacityError: This machine has not enough memory to run the model.
        ValueError: The plan has no int8 cache.
    """
    config = plan.checkpoint.config
    sizes = config.decoder
    ranges = CacheRanges(sizes.num_layers, sizes.num_kv_heads, sizes.head_size, config.rope.rotary_dim)
    meter.stage("key and value scales")
    # Without a prefix cache no position is skipped, so every key and value is visited.
    # The scales do not depend on the machine's speed: every prompt takes the decoder's own graph.
    is_routed = plan.selection.mode == "routed"
    with Model.load(folder, threads=threads, cache_bytes=0, with_adapters=is_routed, prefill_threshold=0) as model:
        manifest = model.manifest
        requests = calibration_requests(manifest, own)
        for number, request in enumerate(requests, start=1):
            meter.prompt(number, len(requests))
            model.visit_cache(request, partial(add_cache, ranges))
    write_index(folder, plan, plan.graphs)
    _write(folder, manifest, plan, ranges)


def add_cache(ranges: CacheRanges, cache: KVCache) -> None:
    """Take in every filled position of a cache in float32.

    Raises:
        ArtifactError: A key or value is not finite.
    """
    names = cache_names(cache.shape.num_layers)
    for layer in range(cache.shape.num_layers):
        keys, values = (cache.filled(name)[0] for name in names[2 * layer : 2 * layer + 2])
        ranges.add(layer, keys, values)


def _write(folder: Path, manifest: Manifest, plan: BundlePlan, ranges: CacheRanges) -> None:
    """The scales' file and the new manifest."""
    info = plan.int8_cache
    if info is None:
        raise ValueError("the plan has no int8 cache")
    write_scales(folder, (info.key_scales, info.value_scales), ranges.scales())
    _add_blocks(folder, SCALES_FILE)
    changed = (TENSORS_NAME, BLOCKS_NAME)
    kept = (file for file in manifest.files if file.path not in changed)
    files = (*kept, *(describe(folder, name) for name in (SCALES_FILE, *changed)))
    manifest = dataclasses.replace(
        manifest,
        decoder=dataclasses.replace(manifest.decoder, int8_cache=info),
        files=tuple(sorted(files, key=lambda file: file.path)),
        derived_prefill=None if plan.derived is None else plan.derived.info,
    )
    (folder / MANIFEST_NAME).write_text(manifest.to_json(), encoding="utf-8")


def _add_blocks(folder: Path, name: str) -> None:
    """Checksums of one more file's blocks."""
    path, sums = folder / BLOCKS_NAME, BlockSums()
    blocks = BlockHashes.from_json(path.read_text(encoding="utf-8"), str(path))
    sums.update((folder / name).read_bytes())
    path.write_text(dataclasses.replace(blocks, files=(*blocks.files, sums.of(name))).to_json(), encoding="utf-8")
