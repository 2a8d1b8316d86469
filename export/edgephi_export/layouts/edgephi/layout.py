"""The folder that edgephi's own runtime loads.

Calibration runs the model, so it and the runtime behind it are imported only where something is calibrated.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from edgephi.base.errors import ConfigError
from edgephi.bundle.bundle import MANIFEST_NAME, Bundle
from edgephi.bundle.manifest import ONE_PURPOSE, FileInfo
from edgephi_export.checkpoint.config import Modality
from edgephi_export.checkpoint.selection import Selection, choose
from edgephi_export.graphs.check import check_graphs
from edgephi_export.hub.download import CheckpointSource
from edgephi_export.layouts.edgephi.plan import PREFILL_GRAPH, BundlePlan, plan_bundle
from edgephi_export.layouts.edgephi.writer import index_of, write_bundle
from edgephi_export.layouts.layout import FolderDescription, FolderPlan, LayoutInput
from edgephi_export.options import ExportOptions, PrefillKind
from edgephi_export.progress import Meter
from edgephi_export.recipe_options import check_cpu_recipe, recipe_of
from edgephi_export.weights.plan import WeightPlan
from edgephi_export.weights.writer import progress_totals
from edgephi_quantize.recipe import Rule


class EdgephiLayout:
    """See `Layout`."""

    record_name = MANIFEST_NAME
    library = "edgephi"
    has_readme = False

    def check(self, options: ExportOptions) -> None:
        """Refuse an unknown graph for prefill, and one or an int8 cache with a recipe for GPUs.

        Raises:
            ConfigError: One of these was asked for.
        """
        if options.prefill not in (None, *get_args(PrefillKind)):
            raise ConfigError(f"prefill is {options.prefill!r}; use 'int8' or 'derived', or leave it out")
        if options.prefill == "derived" and (options.correct_rank or options.recipe == ONE_PURPOSE):
            raise ConfigError("--prefill derived has no place for a correction of the codes' error; use --prefill int8")
        if options.max_crops is not None:
            raise ConfigError(
                f"--max-crops {options.max_crops} is for --layout genai; leave it out: edgephi encodes one crop at a "
                "time, and takes `detail` for each image"
            )
        if options.prefill is not None:
            check_cpu_recipe(options, f"--prefill {options.prefill}")
        if options.kv_cache == "int8":
            check_cpu_recipe(options, "--kv-cache int8")

    def choose(self, options: ExportOptions, available: tuple[Modality, ...]) -> Selection:
        """Any parts that can follow the model's rule for adapters.

        Raises:
            ConfigError: See `checkpoint.selection.choose`.
        """
        return choose(options.adapters, options.modalities, available)

    def plan(self, given: LayoutInput) -> FolderPlan:
        """The graphs of a bundle, checked.

        Raises:
            EdgeError: A graph is not valid ONNX.
        """
        return _BundleFolder(given, _planned(given, given.weights))

    def describe(self, folder: Path) -> FolderDescription:
        """The manifest's part that every layout has.

        Raises:
            ArtifactError: There is no manifest, or it is damaged.
        """
        manifest = Bundle(folder).manifest
        return FolderDescription(
            layout="edgephi",
            generator=manifest.generator,
            source=manifest.source,
            recipe=manifest.recipe,
            adapters=manifest.adapters,
            modalities=manifest.modalities,
            files=manifest.files,
            ends=tuple(end.text for end in manifest.tokens.ends),
            not_applied=manifest.generation.not_applied,
        )

    def add_files(self, folder: Path, added: Sequence[FileInfo]) -> None:
        """List more files in the manifest.

        Raises:
            ArtifactError: There is no manifest, or it is damaged.
        """
        manifest = Bundle(folder).manifest
        files = tuple(sorted((*manifest.files, *added), key=lambda info: info.path))
        text = dataclasses.replace(manifest, files=files).to_json()
        (folder / MANIFEST_NAME).write_text(text, encoding="utf-8")

    def usage(self, described: FolderDescription) -> tuple[str, ...]:
        """Commands that install, download and run."""
        lines = ["```sh", 'pip install "edgephi[cpu]"', "edgephi pull ORG/NAME -o model", 'edgephi run model "Hello"']
        if "vision" in described.modalities:
            lines.append('edgephi run model "What is this?" --image photo.jpg')
        if "speech" in described.modalities:
            lines.append("edgephi transcribe model recording.wav")
        return (*lines, "```")


def _planned(given: LayoutInput, weights: WeightPlan) -> BundlePlan:
    options = given.options
    made = plan_bundle(given.checkpoint, given.selection, weights, options.kv_cache, prefill=options.prefill)
    check_graphs(made.graphs if made.derived is None else {**made.graphs, **made.derived.graphs})
    return made


@dataclass(frozen=True, slots=True)
class _BundleFolder:
    """Writes the bundle, and then what only a finished folder can tell: rules of the prefill graph, cache scales."""

    given: LayoutInput
    bundle: BundlePlan

    def write(self, source: CheckpointSource, folder: Path, threads: int, meter: Meter) -> None:
        given, bundle = self.given, self.bundle
        write_bundle(bundle, source, folder, threads, meter)
        if given.options.prefill is not None and (rules := self._rules_of_gate(folder, meter)):
            again = WeightPlan(recipe_of(given.options, rules, given.checkpoint.weights))
            again.solved = given.weights.solved
            bundle = _planned(given, again)
            _empty(folder)
            meter.restart(progress_totals(bundle.weights))
            write_bundle(bundle, source, folder, threads, meter)
        if given.calibration is not None:
            from edgephi_export.layouts.edgephi.int8_cache import add_int8_cache

            add_int8_cache(folder, bundle, given.calibration, given.options.threads, meter)

    def _rules_of_gate(self, folder: Path, meter: Meter) -> tuple[Rule, ...]:
        from edgephi_export.calibration.prefill_gate import GatedGraph, rules_beyond_gate

        derived, options = self.bundle.derived, self.given.options
        if derived is None:
            gated = GatedGraph(PREFILL_GRAPH, None)
        else:
            gated = GatedGraph(derived.info.graph, index_of(derived.weights, derived.graphs))
        return rules_beyond_gate(folder, gated, self.given.calibration, options.threads, meter)


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
