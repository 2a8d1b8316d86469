"""Writes a folder that onnxruntime-genai 0.18 loads as it is, for text on the CPU.

genai_config.json model.onnx weights/decoder.bin
tokenizer.json tokenizer_config.json chat_template.jinja
edgephi_export.json           where all of it came from (see record.py)
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgephi.base.errors import ConfigError
from edgephi.bundle.bundle import CHAT_TEMPLATE_NAME, TOKENIZER_NAME
from edgephi_export.checkpoint.checkpoint import Checkpoint
from edgephi_export.checkpoint.config import Modality
from edgephi_export.checkpoint.json_fields import Fields
from edgephi_export.checkpoint.selection import Selection, choose
from edgephi_export.graphs.builder import GraphBuilder
from edgephi_export.graphs.decoder import DecoderParts
from edgephi_export.hub.download import CheckpointSource
from edgephi_export.layouts.genai.config import genai_config
from edgephi_export.layouts.genai.graph import build_genai
from edgephi_export.layouts.layout import LayoutInput
from edgephi_export.layouts.record import write_record
from edgephi_export.progress import Meter
from edgephi_export.provenance import describe
from edgephi_export.weights.writer import write_weights

GENAI_GRAPH = "model.onnx"
_CONFIG, _TOKENIZER_CONFIG = "genai_config.json", "tokenizer_config.json"
#: What any tokenizer.json fits; without this key the library finds no chat template.
_TOKENIZER_CLASS = "PreTrainedTokenizerFast"


@dataclass(frozen=True, slots=True, kw_only=True)
class GenaiPlan:
    """The folder that will be written.

    Attributes:
        given: What it was planned from.
        graph: The one graph.
        tokenizer_config: The text of tokenizer_config.json.
    """

    given: LayoutInput
    graph: GraphBuilder
    tokenizer_config: str

    def write(self, source: CheckpointSource, folder: Path, threads: int, meter: Meter) -> None:
        """Write every file; the record comes last. See `FolderPlan`."""
        checkpoint = self.given.checkpoint
        files = [file.info for file in write_weights(self.given.weights, folder, threads, meter)]
        meter.stage("graphs")
        self.graph.save(folder / GENAI_GRAPH)
        shutil.copyfile(checkpoint.path / TOKENIZER_NAME, folder / TOKENIZER_NAME)
        texts = {
            _CONFIG: genai_config(checkpoint.config, GENAI_GRAPH).to_json(),
            _TOKENIZER_CONFIG: self.tokenizer_config,
            CHAT_TEMPLATE_NAME: checkpoint.chat_template,
        }
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
        files += [describe(folder, name) for name in (GENAI_GRAPH, TOKENIZER_NAME, *texts)]
        write_record(folder, self.given, source, files)


def choose_genai(adapters: str | None, modalities: Sequence[str] | None, available: tuple[Modality, ...]) -> Selection:
    """Text without adapters, which is all that this layout holds, whatever the checkpoint has besides.

    Args:
        adapters: None or `none`.
        modalities: None or text.
        available: What the checkpoint has.

    Raises:
        ConfigError: Something else was asked for.
    """
    if adapters not in (None, "none"):
        raise ConfigError(
            f"--layout genai is text only and has no adapters, so not --adapters {adapters}; leave it out, or use "
            "--layout edgephi"
        )
    if modalities is not None and tuple(modalities) != ("text",):
        raise ConfigError(
            f"--layout genai is text only, not {','.join(modalities)}; leave --modalities out, or use --layout edgephi"
        )
    return choose("none", ("text",), available)


def plan_genai(given: LayoutInput) -> GenaiPlan:
    """Build the graph; the plan of weights gets every tensor it needs.

    Raises:
        ArtifactError: The checkpoint's tokenizer_config.json is damaged.
    """
    checkpoint = given.checkpoint
    parts = DecoderParts(config=checkpoint.config, source=checkpoint.weights, plan=given.weights, mode="none")
    return GenaiPlan(given=given, graph=build_genai(parts), tokenizer_config=_tokenizer_config(checkpoint))


def _tokenizer_config(checkpoint: Checkpoint) -> str:
    """The checkpoint's own tokenizer_config.json, if it has one, without a chat template.

    The library takes a template in here for better than chat_template.jinja, which holds the one that counts.
    """
    path = checkpoint.path / _TOKENIZER_CONFIG
    values = dict(Fields.load(path).values) if path.is_file() else {}
    values.pop("chat_template", None)
    values.setdefault("tokenizer_class", _TOKENIZER_CLASS)
    return json.dumps(values, indent=1, ensure_ascii=False) + "\n"
