"""The diagnosis of `edgephi doctor`: machine, software, and how a model folder would run here.

Nothing here ends at the first fault: each becomes one line among the problems, and the other questions are still asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from edgephi.base.errors import ArtifactError, CapacityError, ConfigError, EdgeError
from edgephi.base.units import human_bytes
from edgephi.bundle.bundle import Bundle
from edgephi.bundle.manifest import CacheChoice
from edgephi.bundle.tensor_index import TENSORS_NAME
from edgephi.inspection.assignments import GraphAssignment, graph_assignments
from edgephi.inspection.bundle_check import check_folder
from edgephi.inspection.footprint import MemoryEstimate, memory_estimates, prefill_bytes
from edgephi.inspection.gpus import gpu_needs
from edgephi.inspection.machine import Machine, measure_machine
from edgephi.inspection.software import Software, check_software
from edgephi.ort.device_names import DeviceName
from edgephi.ort.devices import device_named
from edgephi.prompt.routing import ROUTES, Mode


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedEstimate:
    """The memory and the speed to expect of requests of one mode.

    Attributes:
        mode: Of the requests.
        takes: Their media in words.
        context: Positions the estimates are for.
        memory_bytes: The process, with the context filled.
        fits: Whether that is available now.
        positions: The longest context that fits, within the model's own.
        step_bytes: Bytes that one decode step reads at a short context.
        most_tokens_s: Decode steps a second if reading that were all the work; None without a bandwidth.
        most_tokens_s_filled: The same once the context is filled, which every step reads as well.
        most_tokens_s_low: By the slowest reading of the bandwidth.
        most_tokens_s_filled_low: The same once the context is filled.
    """

    mode: Mode
    takes: str
    context: int
    memory_bytes: int
    fits: bool
    positions: int
    step_bytes: int
    most_tokens_s: float | None
    most_tokens_s_filled: float | None
    most_tokens_s_low: float | None
    most_tokens_s_filled_low: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """All findings. `problems` need to be solved, `advice` is free; `exit_code` is that of the worst problem."""

    machine: Machine
    software: Software
    model: str | None
    prospects: tuple[SpeedEstimate, ...]
    assignments: tuple[GraphAssignment, ...]
    advice: tuple[str, ...]
    problems: tuple[str, ...]
    exit_code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _FolderFindings:
    """A folder's part of the diagnosis: its estimates, what runs where, advice, and problems by their kind."""

    estimates: tuple[SpeedEstimate, ...] = ()
    assignments: tuple[GraphAssignment, ...] = ()
    advice: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()
    too_large: tuple[str, ...] = ()
    not_offered: tuple[str, ...] = ()


def diagnose(
    model: str | None,
    *,
    context: int,
    threads: int | None,
    kv_cache: CacheChoice = "auto",
    check_hashes: bool = False,
    device: DeviceName = "cpu",
) -> Diagnosis:
    """Look at the machine, the installation and, unless None, the model folder.

    Args:
        model: The model folder.
        context: Tokens that a conversation is to reach.
        threads: To measure the memory's bandwidth with; None for every physical core.
        kv_cache: What keys and values would be kept in.
        check_hashes: Also read every file of the folder.
        device: A GPU is opened, and loads every graph of the folder to say what of it the CPU would compute.
    """
    machine = measure_machine(Path(model) if model else Path(), threads)
    software, broken = check_software()
    found, bundle = _FolderFindings(), None
    if model is not None:
        check = check_folder(model, check_hashes)
        found, bundle = _FolderFindings(damaged=check.problems), check.bundle
        if bundle is not None:
            found = _examine(bundle, check.problems, machine, context, kv_cache)
    found = _on_device(found, bundle, device)
    codes = (
        (found.damaged, ArtifactError),
        (found.too_large, CapacityError),
        (found.not_offered, ConfigError),
        (broken, EdgeError),
    )
    return Diagnosis(
        machine=machine,
        software=software,
        model=model,
        prospects=found.estimates,
        assignments=found.assignments,
        advice=(*machine.advice(), *software.advice(), *found.advice),
        problems=(*broken, *found.damaged, *found.too_large, *found.not_offered),
        exit_code=next((kind.exit_code for lines, kind in codes if lines), 0),
    )


def _examine(
    bundle: Bundle, damaged: tuple[str, ...], machine: Machine, context: int, kv_cache: CacheChoice
) -> _FolderFindings:
    manifest, limit = bundle.manifest, bundle.manifest.rope.max_positions
    estimates: tuple[SpeedEstimate, ...] = ()
    not_offered: tuple[str, ...] = ()
    mapped = 0
    try:
        mapped = prefill_bytes(bundle)
        memory = memory_estimates(bundle, kv_cache)
        estimates = tuple(_speed(estimate, min(context, limit), limit, machine) for estimate in memory)
    except ArtifactError as error:
        index = f"{bundle.file(TENSORS_NAME)}:"
        damaged += () if any(line.startswith(index) for line in damaged) else (str(error),)
    except ConfigError as error:
        not_offered = (f"{bundle.path}: {error}",)
    advice = [*_model_advice(estimates, limit, manifest.recipe.name)]
    if kv_cache == "float" and estimates and manifest.decoder.int8_cache is not None:
        advice += _cache_advice(estimates, memory_estimates(bundle, "int8"), limit, machine)
    advice += gpu_needs(bundle, min(context, limit), machine.gpus)
    if mapped:
        advice.append(
            f"long prompts also read {human_bytes(mapped)} of mapped files, fast while that much memory is free beside"
        )
    if context > limit:
        advice.append(f"this model's context ends at {limit:,} tokens; {context:,} were asked for")
    return _FolderFindings(
        estimates=estimates,
        advice=tuple(advice),
        damaged=damaged,
        too_large=tuple(_too_large(estimates, machine)),
        not_offered=not_offered,
    )


def _on_device(found: _FolderFindings, bundle: Bundle | None, device: DeviceName) -> _FolderFindings:
    """With what a GPU makes of the graphs of a folder without faults, and whether this machine has the GPU at all."""
    try:
        device_named(device)
        graphs = () if bundle is None or found.damaged else tuple(graph_assignments(bundle, device))
    except CapacityError as error:
        return replace(found, too_large=(*found.too_large, str(error)))
    except ArtifactError as error:
        return replace(found, damaged=(*found.damaged, str(error)))
    except ConfigError as error:
        return replace(found, not_offered=(*found.not_offered, str(error)))
    return replace(found, assignments=graphs)


def _speed(need: MemoryEstimate, context: int, limit: int, machine: Machine) -> SpeedEstimate:
    memory_bytes, filled = need.memory_bytes(context), need.read_bytes(context)
    speed, low = machine.read_bandwidth_bytes_s, machine.read_bandwidth_low_bytes_s
    return SpeedEstimate(
        mode=need.mode,
        takes=ROUTES[need.mode].inputs,
        context=context,
        memory_bytes=memory_bytes,
        fits=memory_bytes <= machine.available_bytes,
        positions=min(limit, need.positions_within(machine.available_bytes)),
        step_bytes=need.step_bytes,
        most_tokens_s=speed / need.step_bytes if speed else None,
        most_tokens_s_filled=speed / filled if speed else None,
        most_tokens_s_low=low / need.step_bytes if low else None,
        most_tokens_s_filled_low=low / filled if low else None,
    )


def _too_large(estimates: tuple[SpeedEstimate, ...], machine: Machine) -> Iterator[str]:
    """One line for every mode that does not fit."""
    for estimate in estimates:
        if estimate.fits:
            continue
        if estimate.positions:
            advice = f"use at most {estimate.positions:,} tokens"
        elif estimate.memory_bytes <= machine.usable_bytes:
            advice = "close other programs"
        else:
            advice = "export with a smaller recipe, or use a machine with more memory"
        yield (
            f"{estimate.takes} at {estimate.context:,} tokens needs {human_bytes(estimate.memory_bytes)} of memory "
            f"but {human_bytes(machine.available_bytes)} are available; {advice}"
        )


def _cache_advice(
    estimates: tuple[SpeedEstimate, ...], smaller: tuple[MemoryEstimate, ...], limit: int, machine: Machine
) -> Iterator[str]:
    """The context that the int8 cache, which is not in use, would allow the mode that takes most."""
    most, need = max(zip(estimates, smaller, strict=True), key=lambda pair: pair[1].fixed_bytes)
    positions = min(limit, need.positions_within(machine.available_bytes))
    if positions > most.positions:
        reach = "the model's whole context" if positions == limit else f"a context up to {positions:,}"
        yield f"with --kv-cache int8 {reach} fits with {most.takes}"


def _model_advice(estimates: tuple[SpeedEstimate, ...], limit: int, recipe: str) -> Iterator[str]:
    fitting = [estimate for estimate in estimates if estimate.fits]
    if fitting:
        most = max(fitting, key=lambda estimate: estimate.memory_bytes)
        reach = "the model's whole context" if most.positions == limit else f"a context up to {most.positions:,}"
        yield f"{reach} fits with {most.takes}"
    if recipe in ("fp32", "fp16", "int8") or (len(fitting) < len(estimates) and recipe != "int4-fast"):
        yield f"the recipe is {recipe}; `edgephi export --recipe int4-fast` makes the smallest and fastest folder"
