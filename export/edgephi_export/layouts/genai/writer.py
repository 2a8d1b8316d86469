"""Writes a folder that onnxruntime-genai 0.18 loads as it is, on the CPU.

genai_config.json model.onnx tokenizer.json tokenizer_config.json chat_template.jinja
weights/*.bin
inference_model.json          by which Foundry Local finds the folder
edgephi_export.json           where all of it came from (see layouts/record.py)

for images and audio also
embedding.onnx vision.onnx speech.onnx vision_processor.json speech_processor.json
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from edgephi.bundle.bundle import TOKENIZER_NAME
from edgephi_export.hub.download import CheckpointSource
from edgephi_export.layouts.genai.plan import GenaiPlan
from edgephi_export.layouts.genai.prompt_files import CATALOGUE_ENTRY, catalogue_entry
from edgephi_export.layouts.layout import LayoutInput
from edgephi_export.layouts.record import write_record
from edgephi_export.progress import Meter
from edgephi_export.provenance import describe
from edgephi_export.weights.writer import write_weights


@dataclass(frozen=True, slots=True)
class GenaiFolder:
    """A planned folder, and what it was planned from."""

    given: LayoutInput
    plan: GenaiPlan

    def write(self, source: CheckpointSource, folder: Path, threads: int, meter: Meter) -> None:
        """Write every file; the record comes last. See `FolderPlan`."""
        given, plan = self.given, self.plan
        files = [file.info for file in write_weights(given.weights, folder, threads, meter)]
        meter.stage("graphs")
        for name, graph in plan.graphs.items():
            graph.save(folder / name)
        shutil.copyfile(given.checkpoint.path / TOKENIZER_NAME, folder / TOKENIZER_NAME)
        model = Path(source.id).name
        texts = {CATALOGUE_ENTRY: catalogue_entry(model, given.weights.recipe.name), **plan.texts}
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
        files += [describe(folder, name) for name in {TOKENIZER_NAME: None, **plan.graphs, **texts}]
        write_record(folder, given, source, files)
