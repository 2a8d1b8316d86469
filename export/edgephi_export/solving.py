"""Solves the decoder's matrices on calibration examples, before the folder is written.

A draft of the folder in 8 bits gives what the decoder reads: the rows of tokens and media. The walk through the layers
then needs the checkpoint alone.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgephi.base.atomic_write import writing
from edgephi.base.errors import ConfigError
from edgephi.bundle.manifest import ONE_PURPOSE
from edgephi_export.calibration.embedding import embedded
from edgephi_export.calibration.examples import Example
from edgephi_export.checkpoint.checkpoint import Checkpoint
from edgephi_export.checkpoint.config import ADAPTED_LINEARS
from edgephi_export.checkpoint.selection import Selection
from edgephi_export.hub.download import CheckpointSource
from edgephi_export.layer_walk.plan import WalkPlan
from edgephi_export.layer_walk.sequences import MOST_POSITIONS, CalibrationSequence, chosen
from edgephi_export.layer_walk.walk import walk
from edgephi_export.layer_walk.walk_files import WalkFiles
from edgephi_export.layouts.edgephi.plan import BundlePlan, plan_bundle
from edgephi_export.layouts.edgephi.writer import write_bundle
from edgephi_export.progress import Meter
from edgephi_export.provenance import generator
from edgephi_export.weights.plan import WeightPlan
from edgephi_export.weights.solved import SolvedTensors
from edgephi_quantize.recipe import Recipe, make_recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class SolvePlan:
    """What is solved, and on what.

    Attributes:
        checkpoint: Of the export.
        selection: Its parts.
        recipe: Formats, method, and what is solved anew.
        examples: What it is solved on.
        threads: Workers; the result does not depend on it.
    """

    checkpoint: Checkpoint
    selection: Selection
    recipe: Recipe
    examples: tuple[Example, ...]
    threads: int

    def __post_init__(self) -> None:
        shapes = [self.checkpoint.config.decoder.linear_shape(linear) for linear in ADAPTED_LINEARS]
        most = min(map(min, shapes))
        if self.recipe.correction_rank > most:
            raise ConfigError(f"--correct-rank {self.recipe.correction_rank}: this model's matrices take 1 to {most:,}")
        mode = self.selection.mode
        if self.recipe.name == ONE_PURPOSE and not any(mode in example.mode for example in self.examples):
            raise ConfigError(f"no calibration example is {mode}, which this export is for; add some")

    @property
    def walk(self) -> WalkPlan:
        """The same for the walk through the layers."""
        return WalkPlan(
            config=self.checkpoint.config,
            source=self.checkpoint.weights,
            mode=self.selection.mode,
            recipe=self.recipe,
            threads=self.threads,
        )

    @property
    def identity(self) -> str:
        """Everything that the result depends on, as text."""
        found = {
            "generator": generator(),
            "numpy": np.__version__,
            "config": self.checkpoint.config_sha256,
            "weights": [
                [str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns]
                for path in sorted(self.checkpoint.path.rglob("*.safetensors"))
            ],
            "adapter": None if self.checkpoint.adapter is None else dataclasses.asdict(self.checkpoint.adapter),
            "selection": dataclasses.asdict(self.selection),
            "recipe": dataclasses.asdict(self.recipe.to_info()),
            "examples": [example.digest for example in self.examples],
        }
        return json.dumps(found, indent=1)


def walk_bytes(plan: SolvePlan, weights: WeightPlan) -> int:
    """The most that the files of a walk take beside the folder, which is written when all of them are there.

    Args:
        plan: What is solved.
        weights: The places of all tensors in the folder.
    """
    allocations = [allocation for held in weights.files.values() for allocation in held]
    solved = sum(one.info.num_bytes for one in allocations if one.tensor.name.startswith("layers."))
    decoder = plan.checkpoint.config.decoder
    inputs = sum(decoder.linear_shape(linear)[1] for linear in ADAPTED_LINEARS)
    floats = 2 * decoder.hidden_size  # behind a layer, before those in front of it go
    if plan.recipe.absorbed or plan.recipe.correction_rank:
        floats += floats + inputs
    passing = MOST_POSITIONS * floats * np.dtype(np.float32).itemsize
    return max(solved, _draft(plan).weights.num_bytes) + passing


@contextmanager
def solving(plan: SolvePlan, source: CheckpointSource, output: Path, meter: Meter) -> Iterator[SolvedTensors]:
    """Solve, and keep the result until the block ends well, which is when the folder has been written.

    An export that was interrupted or killed goes on where it was when it is run again in the same way.

    Raises:
        ArtifactError: A tensor cannot be read or holds values that are not finite.
        CapacityError: The disk filled up, or an example is longer than the context.
        ConfigError: The examples lack a kind that is needed, or another export is at work on the same output.
    """
    output = output.absolute()
    with WalkFiles(output.with_name(f".{output.name}.walk"), plan.identity) as files:
        with writing(output):
            if not files.has_sequences:
                meter.stage("calibration examples")
                sequences = chosen(decoder_sequences(plan, source, files.folder / "draft"))
                _check_kinds(plan, {str(sequence.adapter) for sequence in sequences})
                files.begin(sequences, plan.walk.is_followed)
            meter.stage("layers")
            walk(plan.walk, files, meter)
        yield SolvedTensors(files.names(), lambda group: files.layer(int(group.rpartition(".")[2])))
        files.remove()


def _draft(plan: SolvePlan) -> BundlePlan:
    """The folder whose encoders read the examples; by its recipe's name it serves what the export will."""
    recipe = dataclasses.replace(make_recipe("int8", method="rtn"), name=plan.recipe.name)
    return plan_bundle(plan.checkpoint, plan.selection, WeightPlan(recipe))


def decoder_sequences(plan: SolvePlan, source: CheckpointSource, folder: Path) -> tuple[CalibrationSequence, ...]:
    """What the decoder reads for the examples.

    Args:
        plan: Names the examples.
        source: Of the checkpoint.
        folder: A draft of the model folder is written there and removed.

    Raises:
        ConfigError: The draft can serve none of them.
        CapacityError: The disk filled up, or an example is longer than the context.
    """
    bundle = _draft(plan)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    write_bundle(bundle, source, folder, plan.threads, Meter.silent())
    sequences = tuple(embedded(folder, plan.examples, plan.threads))
    shutil.rmtree(folder)
    return sequences


def _check_kinds(plan: SolvePlan, kinds: set[str]) -> None:
    """Refuse to solve an adapter or a correction without an example that it serves."""
    wanted: dict[str, str] = {info.name: f"the {info.name} adapter" for info in plan.checkpoint.config.adapters}
    needed = dict(wanted) if plan.recipe.absorbed else {}
    if plan.recipe.correction_rank and plan.selection.mode in ("none", "routed"):
        needed |= {"none": "requests without media"}
    for kind, what in needed.items():
        if kind not in kinds:
            raise ConfigError(f"no calibration example is for {what}, which is to be solved on them; add some")
