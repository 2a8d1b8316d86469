"""Chooses the formats of the decoder's matrices and head under a budget, by what each loses on calibration examples.

    OUTPUT.sensitivity.json    what was measured, group by group: read again by the next budget
    OUTPUT.recipe.json         the recipe that was chosen, for `--recipe`

The loss of a format is the mean KL that it alone causes, relative to what the whole decoder would lose in int4 blocks
of 128, averaged over the modes: each counts the same, however large its KL is.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edgephi.base.errors import ConfigError
from edgephi.bundle.prefill_info import PREFILL
from edgephi_export.hub.download import CheckpointSource
from edgephi_export.layer_walk.sequences import CalibrationSequence, fitting
from edgephi_export.layer_walk.walk_files import WalkFiles
from edgephi_export.options import Budget
from edgephi_export.progress import Meter
from edgephi_export.recipe_file import recipe_path, save_recipe
from edgephi_export.sensitivity.groups import FORMATS, TensorGroup, tensor_groups
from edgephi_export.sensitivity.measuring import SensitivityRun
from edgephi_export.sensitivity.record import Sensitivity, read_record, save_record
from edgephi_export.solving import SolvePlan, decoder_sequences
from edgephi_export.step_bytes import StepBytes
from edgephi_export.weights.plan import WeightPlan
from edgephi_quantize.allocation import Choice, Group, allocate, as_rules
from edgephi_quantize.recipe import HEAD, Recipe, Rule

#: Positions in all: a group's formats take several passes over them through the layers behind it.
_MOST_POSITIONS = 4096
#: What losses are relative to: the format of a decoder of 4 bits throughout.
_UNIT = "int4:128"


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetFiles:
    """Where a budget keeps what it found."""

    sensitivity: Path
    recipe: Path

    @classmethod
    def beside(cls, output: Path, sensitivity: str | Path | None) -> BudgetFiles:
        """Beside the folder that is made, or where the user wants what was measured."""
        kept = output.with_name(f"{output.name}.sensitivity.json") if sensitivity is None else Path(sensitivity)
        return cls(sensitivity=kept, recipe=recipe_path(output))


class BudgetPlan:
    """What a budget is spread over.

    Args:
        solve: The checkpoint, the examples, and the recipe whose formats are chosen anew.
        weights: Every tensor's place by that recipe.
        fixed: Rules of the user's own, whose linears keep their formats.
        budget: The limit.

    Raises:
        ConfigError: No choice fits the budget, or there is nothing to choose.
    """

    def __init__(self, solve: SolvePlan, weights: WeightPlan, fixed: tuple[Rule, ...], budget: Budget) -> None:
        self._solve, self._fixed, self._budget = solve, fixed, budget
        self._step = StepBytes(solve.checkpoint.config.decoder, weights)
        self._groups = tensor_groups(solve.checkpoint.config.decoder, solve.recipe, fixed)
        if not self._groups:
            raise ConfigError("--override gives every matrix of the decoder a format: the budget has nothing to choose")
        self._limit = self._bytes_of_groups()

    def _bytes_of_groups(self) -> int:
        """What the groups may take together."""
        step, linears = self._step, [name for group in self._groups for name in group.linears]
        fewest = sum(min(step.of(group.linears, one) for one in group.formats) for group in self._groups)
        if self._budget.bits is None:
            allowed, rest = self._budget.step_bytes or 0, step.total - step.of(linears)
            smallest = f"--budget {math.ceil((fewest + rest) / 1e4) / 100:g}MB"
        else:
            weights, rest = step.num_weights(step.matrices), step.of(step.matrices) - step.of(linears)
            allowed = int(self._budget.bits * weights / 8)
            smallest = f"--bits {math.ceil((fewest + rest) * 800 / weights) / 100:g}"
        if allowed - rest < fewest:
            raise ConfigError(f"{_spelled(self._budget)} is too small: with this method it can be {smallest} at least")
        return allowed - rest

    def choose(self, record: Sensitivity) -> Recipe:
        """The recipe by what was measured of every group."""
        unit = np.sum([_kl(record, group.name)[_UNIT] for group in self._groups], axis=0)
        groups = [self._priced(group, _kl(record, group.name), np.maximum(unit, 1e-12)) for group in self._groups]
        rules = as_rules(groups, allocate(groups, self._limit))
        recipe, fixed = self._solve.recipe, tuple(rule for rule in self._fixed if not rule.pattern.startswith(PREFILL))
        kept = tuple(
            rule
            for rule in recipe.rules
            if rule not in self._fixed and not rule.pattern.startswith(("layers.", HEAD, PREFILL))
        )
        return replace(recipe, name=_name(self._budget), rules=(*kept, *rules, *fixed))

    def _priced(self, group: TensorGroup, kl: Mapping[str, np.ndarray], unit: np.ndarray) -> Group:
        choices = tuple(
            Choice(format=one, bytes=self._step.of(group.linears, one), loss=float(np.mean(kl[str(one)] / unit)))
            for one in group.formats
        )
        return Group(name=group.name, linears=group.linears, choices=choices)

    def measure(self, source: CheckpointSource, output: Path, path: Path, meter: Meter) -> Sensitivity:
        """The record of every group, kept in `path` after each, so that a run that was killed goes on there.

        Raises:
            ArtifactError: A tensor cannot be read or holds values that are not finite, or the file is damaged.
            CapacityError: The disk filled up.
            ConfigError: The file is of another measurement, or a kind of request has no example.
        """
        record = read_record(path, self._identity)
        missing = [group for group in self._groups if record.find(group.name) is None]
        if not missing:
            return record
        save_record(path, record)  # hours later is late to find that it cannot be written
        with WalkFiles(output.with_name(f".{output.name}.walk"), record.identity) as files:
            meter.stage("calibration examples")
            sequences = fitting(decoder_sequences(self._solve, source, files.folder / "draft"), _MOST_POSITIONS)
            self._check_kinds(sequences)
            meter.stage("what each group of tensors loses")
            run, done = SensitivityRun(self._solve.walk, sequences), len(record.groups)
            meter.group(done + 1, len(self._groups))
            for number, group in enumerate(run.measure(missing), start=done + 1):
                record = record.with_group(group, tuple(run.modes))
                save_record(path, record)
                meter.group(min(number + 1, len(self._groups)), len(self._groups))
            files.remove()
        return record

    @property
    def _identity(self) -> str:
        facts = (self._solve.identity, *map(str, FORMATS), *(rule.pattern for rule in self._fixed), _MOST_POSITIONS)
        return hashlib.sha256("\n".join(map(str, facts)).encode()).hexdigest()

    def _check_kinds(self, sequences: tuple[CalibrationSequence, ...]) -> None:
        """Every kind of request that the folder will serve must be among the examples: what is not is not weighed."""
        selection = self._solve.selection
        needed = {"routed": ("none", *selection.adapters), "none": ("none",)}.get(selection.mode, ())
        lacking = set(needed) - {str(one.adapter) for one in sequences}
        if lacking or not sequences:
            what = " and ".join("text" if one == "none" else one for one in sorted(lacking)) or "any request"
            raise ConfigError(
                f"no calibration example for {what} fits {_MOST_POSITIONS:,} positions; a budget weighs what every "
                "kind of request loses: add some"
            )


def choose_recipe(plan: BudgetPlan, source: CheckpointSource, output: Path, files: BudgetFiles, meter: Meter) -> Path:
    """Measure what is not measured yet, choose, and save the recipe; gives its file. Errors are those of `measure`."""
    record = plan.measure(source, output, files.sensitivity, meter)
    save_recipe(files.recipe, plan.choose(record))
    return files.recipe


def _kl(record: Sensitivity, name: str) -> dict[str, np.ndarray]:
    """The KL of each mode by format."""
    group = record.find(name)
    if group is None:
        raise AssertionError(f"{name} was not measured")
    return {one.format: np.array(one.kl) for one in group.formats}


def _spelled(budget: Budget) -> str:
    return f"--bits {budget.bits:g}" if budget.bits is not None else f"--budget {(budget.step_bytes or 0) / 1e6:g}MB"


def _name(budget: Budget) -> str:
    """Of a recipe: the budget that it was chosen for."""
    return f"mixed-{budget.bits:g}bits" if budget.bits is not None else f"mixed-{(budget.step_bytes or 0) / 1e6:g}MB"
