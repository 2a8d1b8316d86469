"""From checkpoint to model folder: the order of the steps.

Calibration runs the model, so it and the runtime behind it are imported only where something is calibrated.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgephi.base.atomic_write import FolderKind, check_output, check_space, staged
from edgephi.base.errors import ConfigError
from edgephi.base.hardware import num_hardware_threads
from edgephi.bundle.manifest import CACHE_KINDS
from edgephi.bundle.prefill_info import PREFILL
from edgephi.ort.session import runtime
from edgephi_export.checkpoint.adapter_files import check_same_template
from edgephi_export.checkpoint.checkpoint import available_modalities, open_checkpoint, read_layout
from edgephi_export.checkpoint.config import MODALITIES
from edgephi_export.checkpoint.peft_adapter import Adapter
from edgephi_export.documents import add_documents
from edgephi_export.hub.download import CheckpointSource, locate, locate_adapter
from edgephi_export.layouts.layout import LayoutInput
from edgephi_export.layouts.registry import LAYOUTS, find_layout
from edgephi_export.options import Budget, ExportOptions
from edgephi_export.progress import Meter, OnProgress
from edgephi_export.recipe_options import (
    check_budget,
    check_coded,
    check_purpose,
    recipe_of,
    with_absorption,
    with_rank,
)
from edgephi_export.weights.plan import WeightPlan
from edgephi_export.weights.writer import progress_totals
from edgephi_quantize.recipe import Recipe, parse_rule

if TYPE_CHECKING:
    from edgephi_export.calibration.examples import Example
    from edgephi_export.calibration.samples import CalibrationFiles
    from edgephi_export.solving import SolvePlan

#: What an export makes, in whichever layout.
MODEL_FOLDER = FolderKind(
    "an edgephi model folder", tuple(dict.fromkeys(layout.record_name for layout in LAYOUTS.values()))
)
#: Room for graphs, tokenizer and manifest.
_OVERHEAD_BYTES = 64 << 20
_MAX_THREADS = 1024


def export(
    checkpoint: str | Path,
    output: str | Path,
    options: ExportOptions | None = None,
    on_progress: OnProgress | None = None,
) -> Path:
    """Turn a checkpoint into a model folder.

    Args:
        checkpoint: A folder, or a Hugging Face id such as `microsoft/Phi-4-multimodal-instruct`.
        output: The folder to make. It appears when everything is written; a failed export leaves nothing behind.
        options: See ExportOptions.
        on_progress: Called at each step and each write.

    Returns:
        `output` as a path.

    Raises:
        ConfigError: An option that cannot be followed, or an output place that cannot be written.
        ArtifactError: The checkpoint is missing, damaged, or of a kind that is not supported.
        CapacityError: The disk is too small.
        EdgeError: The checkpoint could not be downloaded, or a graph is not valid ONNX, which is a fault of this
            program.
    """
    options, output = options or ExportOptions(), Path(output)
    layout = find_layout(options.layout)
    layout.check(options)
    recipe = recipe_of(options)
    check_budget(options)
    if options.prefill is not None:
        runtime()  # its gate runs the model: if that cannot be done, say so before the weights are read
    threads = num_threads(options.threads)
    examples, calibration = _examples(options, recipe), _calibration_files(options)
    layout.choose(options, MODALITIES)  # impossible options fail before a download
    check_output(output, MODEL_FOLDER, force=options.force)
    source = locate(checkpoint, options.revision, quiet=on_progress is None)
    check_output(output, MODEL_FOLDER, force=options.force, source=source.folder)
    given = _open(options, source, _UserFiles(examples=examples, calibration=calibration), quiet=on_progress is None)
    plan, weights = layout.plan(given), given.weights
    weights.check_rules(tuple(map(parse_rule, options.overrides)))
    weights.check_method(options.method)
    solve = None if examples is None else _solve_plan(given, examples, threads)
    passing_bytes = weights.bytes_apart + (0 if solve is None else _walk_bytes(solve, weights))
    needed_bytes = weights.num_bytes + passing_bytes + _OVERHEAD_BYTES
    check_space(output, needed_bytes, what="the export")
    meter = Meter(progress_totals(weights), on_progress)
    if options.budget is not None and solve is not None:
        given = _within(options.budget, given, solve, _Place(source, output, meter))
        plan, weights, solve = layout.plan(given), given.weights, _solve_plan(given, solve.examples, threads)
        meter.restart(progress_totals(weights))
    with ExitStack() as stack:
        if solve is not None and weights.recipe.needs_inputs:
            from edgephi_export.solving import solving

            weights.solved = stack.enter_context(solving(solve, source, output, meter))
        folder = stack.enter_context(staged(output, MODEL_FOLDER, force=options.force))
        plan.write(source, folder, threads, meter)
        add_documents(folder, source.folder, layout, push_ready=options.push_ready)
    return output


@dataclass(frozen=True, slots=True, kw_only=True)
class _UserFiles:
    """What the user gives besides the checkpoint; None where nothing is calibrated."""

    examples: tuple[Example, ...] | None
    calibration: CalibrationFiles | None


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an export reads, writes and reports."""

    source: CheckpointSource
    output: Path
    meter: Meter


def _within(budget: Budget, given: LayoutInput, solve: SolvePlan, place: _Place) -> LayoutInput:
    """The export with the recipe that the budget gets; from here on as with `--recipe FILE`."""
    from edgephi_export.budget import BudgetFiles, BudgetPlan, choose_recipe

    options = given.options
    fixed = tuple(map(parse_rule, options.overrides))
    files = BudgetFiles.beside(place.output.absolute(), options.sensitivity)
    plan = BudgetPlan(solve, given.weights, fixed, budget)
    found = choose_recipe(plan, place.source, place.output.absolute(), files, place.meter)
    prefill = tuple(text for text in options.overrides if text.startswith(PREFILL))
    chosen = replace(options, recipe=str(found), method=None, budget=None, overrides=prefill)
    return replace(given, options=chosen, weights=WeightPlan(recipe_of(chosen)))


def _solve_plan(given: LayoutInput, examples: tuple[Example, ...], threads: int) -> SolvePlan:
    from edgephi_export.solving import SolvePlan

    return SolvePlan(
        checkpoint=given.checkpoint,
        selection=given.selection,
        recipe=given.weights.recipe,
        examples=examples,
        threads=threads,
    )


def _walk_bytes(solve: SolvePlan, weights: WeightPlan) -> int:
    from edgephi_export.solving import walk_bytes

    return walk_bytes(solve, weights)


def _open(options: ExportOptions, source: CheckpointSource, own: _UserFiles, *, quiet: bool) -> LayoutInput:
    """The checkpoint and its chosen parts, with the options and files that they must fit."""
    selection = find_layout(options.layout).choose(options, available_modalities(read_layout(source.folder)))
    options = with_absorption(options, selection, frozenset(example.adapter for example in own.examples or ()))
    recipe = recipe_of(options)
    check_purpose(recipe, selection)
    if recipe.absorbed and selection.mode != "routed":
        raise ConfigError("--absorb solves routed adapters; this export has none: use --correct-rank, or leave it out")
    opened = open_checkpoint(source.folder, selection, _adapter(options, source, quiet=quiet))
    if own.calibration is not None:
        own.calibration.check(selection.modalities)
        own.calibration.check_shapes(opened.config.vision)
    options = with_rank(options, opened.config.adapters)
    recipe = recipe_of(options, weights=opened.weights)
    check_coded(options, recipe, opened.weights)
    return LayoutInput(
        options=options,
        checkpoint=opened,
        selection=selection,
        weights=WeightPlan(recipe),
        calibration=own.calibration,
    )


def _adapter(options: ExportOptions, base: CheckpointSource, *, quiet: bool) -> Adapter | None:
    """The adapter to merge, if one was asked for."""
    if options.merge_adapter is None:
        return None
    source = locate_adapter(options.merge_adapter, base, quiet=quiet)
    adapter = Adapter.load(source.folder, source.id)
    check_same_template(source.folder, base.folder)
    return adapter


def _examples(options: ExportOptions, recipe: Recipe) -> tuple[Example, ...] | None:
    """The examples of what is solved on them; None where nothing is."""
    folders = [path for path in map(Path, options.calibration) if path.is_dir()]
    if not recipe.needs_inputs and options.budget is None:
        if folders:
            raise ConfigError(
                f"--calibration {folders[0]}: a folder of examples is for --method weighted or gptq, --absorb, "
                "--correct-rank, --budget and --bits; add one of them, or leave it out"
            )
        return None
    for path in options.calibration:
        if not Path(path).exists():
            raise ConfigError(f"--calibration {path}: no such file or folder")
    if not folders:
        raise ConfigError(
            "recipe int2-absorbed, --method weighted or gptq, --absorb, --correct-rank, --budget and --bits need "
            "examples; add --calibration with a folder of them"
        )
    from edgephi_export.calibration.examples import read_examples

    runtime()  # the encoders are run on the examples' media
    return tuple(example for folder in folders for example in read_examples(folder))


def _calibration_files(options: ExportOptions) -> CalibrationFiles | None:
    """The user's files to calibrate with, once it is known that calibration can run; None where none will."""
    if options.kv_cache not in CACHE_KINDS:
        raise ConfigError(f"kv_cache is {options.kv_cache!r}; use {' or '.join(map(repr, CACHE_KINDS))}")
    files = [path for path in options.calibration if not Path(path).is_dir()]
    if options.kv_cache == "float":
        if files:
            raise ConfigError("--calibration is for --kv-cache int8; give both, or leave it out")
        return None
    from edgephi_export.calibration.samples import read_own_files

    runtime()  # calibration runs the model: if it cannot, say so before the weights are read
    return read_own_files(files)


def num_threads(asked: int | None) -> int:
    """Workers of an export.

    Raises:
        ConfigError: `asked` is out of range.
    """
    if asked is None:
        return num_hardware_threads()
    if not 1 <= asked <= _MAX_THREADS:
        raise ConfigError(f"threads is {asked}; use 1 to {_MAX_THREADS:,}, or leave it out for every core")
    return asked
