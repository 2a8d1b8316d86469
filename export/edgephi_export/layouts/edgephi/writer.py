"""Writes the files of a planned bundle into a folder and describes them in the manifest.

The folder becomes visible elsewhere (see edgephi.base.atomic_write).
"""

from __future__ import annotations

import shutil
from pathlib import Path

from edgephi.bundle.block_hashes import BLOCK_BYTES, BLOCKS_NAME, BlockHashes
from edgephi.bundle.bundle import CHAT_TEMPLATE_NAME, MANIFEST_NAME, TOKENIZER_NAME
from edgephi.bundle.manifest import SCHEMA_VERSION, AdaptersInfo, FileInfo, Manifest
from edgephi.bundle.tensor_index import TENSORS_NAME, TensorIndex
from edgephi_export.checkpoint.template_names import read_template_names
from edgephi_export.hub.download import CheckpointSource
from edgephi_export.layouts.edgephi.plan import BundlePlan
from edgephi_export.progress import Meter
from edgephi_export.provenance import describe, generator, source_info
from edgephi_export.weights.writer import write_weights


def write_bundle(bundle: BundlePlan, located: CheckpointSource, folder: Path, threads: int, meter: Meter) -> None:
    """Write every file; the manifest comes last.

    Args:
        bundle: What to write.
        located: What to call the source.
        folder: Where to; it exists and is empty.
        threads: Workers.
        meter: Hears of the progress.

    Raises:
        ArtifactError: A tensor of the checkpoint cannot be read or holds values that are not finite.
        ConfigError: A value is too large for its format.
    """
    weights = write_weights(bundle.weights, folder, threads, meter)
    meter.stage("graphs")
    for name, graph in bundle.graphs.items():
        graph.save(folder / name)
    tensors = tuple(item.info for held in bundle.weights.files.values() for item in held)
    (folder / TENSORS_NAME).write_text(TensorIndex(tensors=tensors).to_json(), encoding="utf-8")
    shutil.copyfile(bundle.checkpoint.path / TOKENIZER_NAME, folder / TOKENIZER_NAME)
    (folder / CHAT_TEMPLATE_NAME).write_text(bundle.checkpoint.chat_template, encoding="utf-8")
    blocks = BlockHashes(block_bytes=BLOCK_BYTES, files=tuple(file.blocks for file in weights))
    (folder / BLOCKS_NAME).write_text(blocks.to_json(), encoding="utf-8")
    others = (*bundle.graphs, TENSORS_NAME, BLOCKS_NAME, TOKENIZER_NAME, CHAT_TEMPLATE_NAME)
    files = [*(file.info for file in weights), *(describe(folder, name) for name in others)]
    (folder / MANIFEST_NAME).write_text(_manifest(bundle, located, files).to_json(), encoding="utf-8")


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
    )
