"""The parts of a layout that optimum and transformers.js share: text only, one graph, one description in config.json.

config.json generation_config.json tokenizer.json tokenizer_config.json
the graph and the files of its weights, where and as the layout names them
README.md edgephi_export.json
"""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path

from edgephi.base.errors import ConfigError
from edgephi.bundle.bundle import TOKENIZER_NAME
from edgephi_export.checkpoint.config import Modality
from edgephi_export.checkpoint.selection import Selection, choose
from edgephi_export.graphs.builder import GraphBuilder
from edgephi_export.graphs.causal_lm import CausalForm, build_causal_lm
from edgephi_export.graphs.check import check_graphs
from edgephi_export.graphs.decoder import DecoderParts
from edgephi_export.hub.download import CheckpointSource
from edgephi_export.layouts.causal_lm.config import (
    CONFIG,
    GENERATION_CONFIG,
    TOKENIZER_CONFIG,
    TransformersJsConfig,
    causal_config,
    generation_config,
    tokenizer_config,
)
from edgephi_export.layouts.layout import FolderDescription, FolderPlan, LayoutInput
from edgephi_export.layouts.record import RecordedLayout, check_foreign, write_record
from edgephi_export.options import ExportOptions, LayoutName
from edgephi_export.progress import Meter
from edgephi_export.provenance import describe
from edgephi_export.recipe_options import check_cpu_recipe
from edgephi_export.weights.plan import FileNames
from edgephi_export.weights.writer import write_weights


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphPlace:
    """The place of the graph and its weights.

    Attributes:
        folder: The folder within the model folder; empty for the model folder itself.
        graph: File name of the graph.
        most_bytes: Of one file of weights; None for no limit.
        dtype: The name of the weights' type for transformers.js; None for other runtimes.
    """

    folder: str = ""
    graph: str = "model.onnx"
    most_bytes: int | None = None
    dtype: str | None = None


class CausalLmLayout(RecordedLayout, ABC):
    """See `Layout`."""

    name: LayoutName
    library: str
    form: CausalForm

    @abstractmethod
    def place(self, recipe: str) -> GraphPlace:
        """The place of the graph by the name of the recipe.

        Raises:
            ConfigError: The runtime cannot be given what the recipe makes.
        """

    @abstractmethod
    def usage(self, described: FolderDescription) -> tuple[str, ...]:
        """See `Layout`."""

    def check(self, options: ExportOptions) -> None:
        """Refuse what needs edgephi's own runtime, and recipes that the CPU cannot compute with.

        Raises:
            ConfigError: One of these was asked for.
        """
        check_foreign(options)
        if options.max_crops is not None:
            raise ConfigError(
                f"--max-crops {options.max_crops} is for images, and --layout {self.name} takes text only"
            )
        check_cpu_recipe(options, f"--layout {self.name}")
        self.place(options.recipe)

    def choose(self, options: ExportOptions, available: tuple[Modality, ...]) -> Selection:
        """Text without adapters, whatever the checkpoint has besides.

        Raises:
            ConfigError: Something else was asked for.
        """
        asked = None
        if options.adapters not in (None, "none"):
            asked = ("--adapters", options.adapters)
        elif options.modalities not in (None, ("text",)):
            asked = ("--modalities", ",".join(options.modalities or ()))
        if asked is not None:
            raise ConfigError(
                f"--layout {self.name} is text only and has no adapters, so not {asked[0]} {asked[1]}; leave it out, "
                "or use --layout edgephi"
            )
        return choose("none", ("text",), available)

    def plan(self, given: LayoutInput) -> FolderPlan:
        """The graph, checked.

        Raises:
            ArtifactError: A small file of the checkpoint is damaged.
            EdgeError: The graph is not valid ONNX.
        """
        checkpoint, weights, place = given.checkpoint, given.weights, self.place(given.options.recipe)
        weights.names = FileNames(path=f"{place.graph}_data", most_bytes=place.most_bytes)
        parts = DecoderParts(config=checkpoint.config, source=checkpoint.weights, plan=weights, mode="none")
        graph = build_causal_lm(parts, self.form)
        check_graphs({place.graph: graph})
        return _CausalFolder(given=given, place=place, graph=graph, texts=_texts(given, place))


def _texts(given: LayoutInput, place: GraphPlace) -> dict[str, str]:
    """The small files by name."""
    checkpoint, section = given.checkpoint, None
    config = causal_config(checkpoint.config)
    if place.dtype is not None:
        num_files = len(given.weights.files)
        section = TransformersJsConfig(dtype=place.dtype, graph=place.graph, num_files=num_files)
    return {
        CONFIG: config.to_json(section),
        GENERATION_CONFIG: generation_config(checkpoint, config),
        TOKENIZER_CONFIG: tokenizer_config(checkpoint),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _CausalFolder:
    given: LayoutInput
    place: GraphPlace
    graph: GraphBuilder
    texts: dict[str, str]

    def write(self, source: CheckpointSource, folder: Path, threads: int, meter: Meter) -> None:
        inner, prefix = folder / self.place.folder, f"{self.place.folder}/" if self.place.folder else ""
        written = write_weights(self.given.weights, inner, threads, meter)
        files = [replace(file.info, path=prefix + file.info.path) for file in written]
        meter.stage("graphs")
        self.graph.save(inner / self.place.graph)
        shutil.copyfile(self.given.checkpoint.path / TOKENIZER_NAME, folder / TOKENIZER_NAME)
        for name, text in self.texts.items():
            (folder / name).write_text(text, encoding="utf-8")
        files += [describe(folder, name) for name in (prefix + self.place.graph, TOKENIZER_NAME, *self.texts)]
        write_record(folder, self.given, source, files)
