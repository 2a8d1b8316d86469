"""From checkpoint to model folder: the order of the steps.

Calibration runs the model, so it and the runtime behind it are imported only where something is calibrated.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from edgephi.base.atomic_write import FolderKind, check_output, check_space, staged
from edgephi.base.errors import ConfigError
from edgephi.base.hardware import num_hardware_threads
from edgephi.bundle.bundle import MANIFEST_NAME
from edgephi.bundle.manifest import CACHE_KINDS
from edgephi.ort.session import runtime
from edgephi_export.checkpoint.adapter_files import check_same_template
from edgephi_export.checkpoint.checkpoint import Checkpoint, available_modalities, open_checkpoint, read_layout
from edgephi_export.checkpoint.config import MODALITIES, Modality
from edgephi_export.checkpoint.peft_adapter import Adapter
from edgephi_export.checkpoint.selection import Selection, choose
from edgephi_export.documents import add_documents
from edgephi_export.graphs.check import check_graphs
from edgephi_export.hub.download import CheckpointSource, locate, locate_adapter
from edgephi_export.layouts.edgephi.plan import BundlePlan, plan_bundle
from edgephi_export.layouts.edgephi.writer import write_bundle
from edgephi_export.layouts.genai.record import RECORD_NAME
from edgephi_export.layouts.genai.writer import GENAI_GRAPH, check_genai_recipe, choose_genai, plan_genai, write_genai
from edgephi_export.options import ExportOptions, LayoutName, PrefillKind
from edgephi_export.progress import Meter, OnProgress, Progress
from edgephi_export.weights.plan import WeightPlan
from edgephi_quantize.recipe import Recipe, Rule, SolvedAnew, make_recipe, parse_rule

if TYPE_CHECKING:
    from edgephi_export.calibration.examples import Example
    from edgephi_export.calibration.samples import CalibrationFiles

#: What an export makes, in either layout.
MODEL_FOLDER = FolderKind("an edgephi model folder", (MANIFEST_NAME, RECORD_NAME))
#: Room for graphs, tokenizer and manifest.
_OVERHEAD_BYTES = 64 << 20
_MAX_THREADS = 1024
Write = Callable[[CheckpointSource, Path, int, Meter], None]


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
    overrides = tuple(map(parse_rule, options.overrides))
    if options.prefill is not None:
        _check_cpu_recipe(options.recipe, "--prefill int8")
        runtime()  # its gate runs the model: if that cannot be done, say so before the weights are read
    recipe = _recipe(options)
    threads = num_threads(options.threads)
    _check_layout(options, recipe)
    examples, calibration = _examples(options, recipe), _calibration_files(options)
    _choose(options, MODALITIES)  # impossible options fail before a download
    check_output(output, MODEL_FOLDER, force=options.force)
    source = locate(checkpoint, options.revision, quiet=on_progress is None)
    check_output(output, MODEL_FOLDER, force=options.force, source=source.folder)
    selection = _choose(options, available_modalities(read_layout(source.folder)))
    if recipe.absorbed and selection.mode != "routed":
        raise ConfigError("--absorb solves routed adapters; this export has none: use --correct-rank, or leave it out")
    opened = open_checkpoint(source.folder, selection, _adapter(options, source, quiet=on_progress is None))
    if calibration is not None:
        calibration.check(selection.modalities)
        calibration.check_shapes(opened.config.vision)
    weights = WeightPlan(recipe)
    write = _plan(options, calibration, opened, selection, weights)
    weights.check_rules(overrides)
    weights.check_method(options.method)
    check_space(output, weights.num_bytes + _OVERHEAD_BYTES, what="the export")
    meter = Meter(_totals(weights), on_progress)
    with ExitStack() as stack:
        if examples is not None:
            from edgephi_export.solving import SolvePlan, solving

            solve = SolvePlan(checkpoint=opened, selection=selection, recipe=recipe, examples=examples, threads=threads)
            weights.solved = stack.enter_context(solving(solve, source, output, meter))
        folder = stack.enter_context(staged(output, MODEL_FOLDER, force=options.force))
        write(source, folder, threads, meter)
        add_documents(folder, source.folder, push_ready=options.push_ready)
    return output


def _check_layout(options: ExportOptions, recipe: Recipe) -> None:
    if options.layout not in get_args(LayoutName):
        raise ConfigError(f"unknown layout {options.layout!r}; known: {', '.join(get_args(LayoutName))}")
    if options.prefill not in (None, *get_args(PrefillKind)):
        raise ConfigError(f"prefill is {options.prefill!r}; use 'int8', or leave it out")
    if options.layout == "genai":
        if options.prefill is not None:
            raise ConfigError("--prefill int8 is for edgephi's own layout; leave out --layout genai or --prefill")
        check_genai_recipe(recipe)


def _check_cpu_recipe(name: str, option: str) -> None:
    recipe = make_recipe(name)
    if recipe.activations != "float32":
        raise ConfigError(
            f"recipe {name} computes with {recipe.activations}, for GPUs; {option} is for the CPU: use int4, "
            "int4-fast, int8 or fp32"
        )


def _adapter(options: ExportOptions, base: CheckpointSource, *, quiet: bool) -> Adapter | None:
    """The adapter to merge, if one was asked for."""
    if options.merge_adapter is None:
        return None
    source = locate_adapter(options.merge_adapter, base, quiet=quiet)
    adapter = Adapter.load(source.folder, source.id)
    check_same_template(source.folder, base.folder)
    return adapter


def _choose(options: ExportOptions, available: tuple[Modality, ...]) -> Selection:
    """The parts that the layout can hold."""
    chooser = choose_genai if options.layout == "genai" else choose
    return chooser(options.adapters, options.modalities, available)


def _examples(options: ExportOptions, recipe: Recipe) -> tuple[Example, ...] | None:
    """The examples of what is solved on them; None where nothing is."""
    folders = [path for path in map(Path, options.calibration) if path.is_dir()]
    if not recipe.needs_inputs:
        if folders:
            raise ConfigError(
                f"--calibration {folders[0]}: a folder of examples is for --method weighted or gptq, --absorb and "
                "--correct-rank; add one of them, or leave it out"
            )
        return None
    for path in options.calibration:
        if not Path(path).exists():
            raise ConfigError(f"--calibration {path}: no such file or folder")
    if not folders:
        raise ConfigError(
            "--method weighted or gptq, --absorb and --correct-rank need examples; add --calibration with a folder of "
            "them"
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
    if options.layout == "genai":
        raise ConfigError("--kv-cache int8 is for edgephi's own layout; leave out --layout genai or --kv-cache")
    _check_cpu_recipe(options.recipe, "--kv-cache int8")
    from edgephi_export.calibration.samples import read_own_files

    runtime()  # calibration runs the model: if it cannot, say so before the weights are read
    return read_own_files(files)


def _plan(
    options: ExportOptions,
    calibration: CalibrationFiles | None,
    checkpoint: Checkpoint,
    selection: Selection,
    weights: WeightPlan,
) -> Write:
    """Plan the folder and check its graphs; what comes back writes it."""
    if options.layout == "genai":
        plan = plan_genai(checkpoint, weights)
        check_graphs({GENAI_GRAPH: plan.graph})
        return partial(write_genai, plan)
    with_prefill = options.prefill is not None

    def planned(weights: WeightPlan) -> BundlePlan:
        made = plan_bundle(checkpoint, selection, weights, options.kv_cache, with_prefill=with_prefill)
        check_graphs(made.graphs)
        return made

    first = planned(weights)

    def write(source: CheckpointSource, folder: Path, threads: int, meter: Meter) -> None:
        bundle = first
        write_bundle(bundle, source, folder, threads, meter)
        if with_prefill and (rules := _beyond_gate(folder, calibration, options.threads, meter)):
            again = WeightPlan(_recipe(options, rules))
            again.solved = weights.solved
            bundle = planned(again)
            _empty(folder)
            meter.restart(_totals(bundle.weights))
            write_bundle(bundle, source, folder, threads, meter)
        if calibration is not None:
            from edgephi_export.calibration.run import add_int8_cache

            add_int8_cache(folder, bundle, calibration, options.threads, meter)

    return write


def _recipe(options: ExportOptions, gated: tuple[Rule, ...] = ()) -> Recipe:
    """The recipe; the user's rules count more than those of the gate of the graph for prefill."""
    overrides = (*gated, *map(parse_rule, options.overrides))
    with_prefill = options.prefill is not None
    return make_recipe(
        options.recipe,
        method=options.method,
        overrides=overrides,
        with_prefill=with_prefill,
        solve=SolvedAnew(adapters=options.absorb, correction_rank=options.correct_rank),
    )


def _beyond_gate(
    folder: Path, calibration: CalibrationFiles | None, threads: int | None, meter: Meter
) -> tuple[Rule, ...]:
    from edgephi_export.calibration.prefill_gate import rules_beyond_gate

    return rules_beyond_gate(folder, calibration, threads, meter)


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


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


def _totals(weights: WeightPlan) -> Progress:
    return Progress(
        stage="reading",
        total_tensors=sum(map(len, weights.files.values())),
        total_read_bytes=weights.source_bytes,
        total_written_bytes=weights.num_bytes,
    )
