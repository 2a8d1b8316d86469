"""From checkpoint to model folder: the order of the steps.

Owns what is checked before the first byte is written. Knows nothing about how graphs are built or files are read.
"""

from __future__ import annotations

import math
from pathlib import Path

from edgephi_export.bundle_writer import BundleWriter
from edgephi_export.checkpoint import Checkpoint, available_modalities, open_checkpoint, read_layout
from edgephi_export.config import MODALITIES
from edgephi_export.hub import locate
from edgephi_export.options import ExportOptions, OnProgress, Progress
from edgephi_export.recipe import get_recipe
from edgephi_export.selection import Selection, choose
from edgephi_export.staging import check_output, check_space, staged
from edgephi_export.weights_file import ALIGNMENT_BYTES

#: Room for graphs, tokenizer and manifest.
_OVERHEAD_BYTES = 64 << 20


def run_export(checkpoint: str | Path, output: Path, options: ExportOptions, on_progress: OnProgress | None) -> Path:
    """See `edgephi_export.export`."""
    recipe = get_recipe(options.recipe)
    choose(options.adapters, options.modalities, MODALITIES)  # impossible options fail before a download
    check_output(output, force=options.force)
    located = locate(checkpoint)
    check_output(output, force=options.force, source=located.folder)
    selection = choose(options.adapters, options.modalities, available_modalities(read_layout(located.folder)))
    opened = open_checkpoint(located.folder, selection)
    total = _weight_bytes(opened, selection)
    check_space(output, total + _OVERHEAD_BYTES)
    meter = _Meter(total, on_progress)
    with staged(output, force=options.force) as folder:
        writer = BundleWriter(folder, opened, selection, recipe, on_stage=meter.stage, on_bytes=meter.advance)
        writer.write(located)
    return output


def _weight_bytes(checkpoint: Checkpoint, selection: Selection) -> int:
    """Bytes of the weights files as float32, alignment included; a little more than is written."""
    return sum(
        4 * math.prod(shape) + ALIGNMENT_BYTES
        for name, shape in checkpoint.weights.shapes.items()
        if selection.mode == "routed" or ".lora_" not in name
    )


class _Meter:
    """Adds up written bytes for the progress callback."""

    def __init__(self, total_bytes: int, on_progress: OnProgress | None) -> None:
        self._total_bytes = total_bytes
        self._on_progress = on_progress
        self._done_bytes = 0
        self._stage = ""

    def stage(self, name: str) -> None:
        self._stage = name
        self.advance(0)

    def advance(self, count: int) -> None:
        self._done_bytes += count
        if self._on_progress is not None:
            self._on_progress(Progress(stage=self._stage, done_bytes=self._done_bytes, total_bytes=self._total_bytes))
