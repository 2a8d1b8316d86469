"""The findings of `edgephi doctor`: machine, software, and what a model folder would do here.

Owns the questions and what is advised. Knows nothing about how findings are shown.

Nothing here ends at the first fault: each becomes one line among the problems, and the other questions are still asked.
"""

from __future__ import annotations

import importlib
import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from edgephi.base import hardware as here
from edgephi.base.errors import ArtifactError, CapacityError, ConfigError, EdgeError
from edgephi.base.units import human_bytes
from edgephi.bundle.manifest import CacheChoice
from edgephi.bundle.tensor_index import TENSORS_NAME
from edgephi.inspection.bundle_check import FolderCheck, check_folder
from edgephi.inspection.footprint import MemoryEstimate, needs
from edgephi.prompt.routing import ROUTES, Mode

#: What is imported -> what is installed.
_PACKAGES = {
    "numpy": "numpy",
    "onnxruntime": "onnxruntime",
    "tokenizers": "tokenizers",
    "jinja2": "jinja2",
    "PIL": "pillow",
    "soundfile": "soundfile",
    "soxr": "soxr",
    "click": "click",
}
_ORT_NAMES = ("onnxruntime", "onnxruntime-gpu")


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A library the runtime needs; `version` is None where it cannot be used."""

    name: str
    version: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What there is to run on. See machine.py for the meaning of each.

    Attributes:
        threads: That the bandwidth was measured with.
        read_bandwidth_bytes_s: The fastest of several readings; None where it could not be measured.
        read_bandwidth_low_bytes_s: The slowest of them.
        disk_path: Of the model folder, or where the command runs.
        disk_free_bytes: There, for this user.
    """

    cpu: str
    physical_cores: int
    logical_cpus: int
    instruction_sets: tuple[str, ...]
    governor: str | None
    memory_bytes: int
    memory_limit_bytes: int | None
    available_bytes: int
    threads: int
    read_bandwidth_bytes_s: float | None
    read_bandwidth_low_bytes_s: float | None
    disk_path: str
    disk_free_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Software:
    """What there is to run with. `telemetry` is None without ONNX Runtime."""

    system: str
    python: str
    packages: tuple[Package, ...]
    providers: tuple[str, ...]
    telemetry: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedEstimate:
    """What to expect of requests of one mode.

    Attributes:
        mode: Of the requests.
        takes: The same for people.
        context: Positions the estimates are for.
        memory_bytes: The process, with the context filled.
        fits: Whether that is available now.
        positions: The longest context that fits, within the model's own.
        step_bytes: What one decode step reads at a short context.
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
    """Everything found. `problems` need to be solved, `advice` is free; `exit_code` is that of the worst problem."""

    machine: Machine
    software: Software
    model: str | None
    prospects: tuple[SpeedEstimate, ...]
    advice: tuple[str, ...]
    problems: tuple[str, ...]
    exit_code: int


def examine(
    model: str | None,
    *,
    context: int,
    threads: int | None,
    kv_cache: CacheChoice = "auto",
    check_hashes: bool = False,
) -> Diagnosis:
    """Look at the machine, the installation and, unless None, the model folder."""
    machine = _machine(Path(model) if model else Path(), threads or here.num_physical_cores())
    software, broken = _software()
    folder = FolderCheck(bundle=None, problems=()) if model is None else check_folder(model, check_hashes)
    damaged, modes, advice = list(folder.problems), [], list(_machine_advice(machine, software))
    unfit: list[str] = []
    without: list[str] = []
    if folder.bundle is not None:
        limit = folder.bundle.manifest.rope.max_positions
        try:
            modes = [_prospect(need, min(context, limit), limit, machine) for need in needs(folder.bundle, kv_cache)]
        except ArtifactError as error:
            index = f"{folder.bundle.file(TENSORS_NAME)}:"
            damaged += [] if any(line.startswith(index) for line in damaged) else [str(error)]
        except ConfigError as error:
            without.append(f"{folder.bundle.path}: {error}")
        unfit = list(_unfit(modes, machine))
        advice += _model_advice(modes, limit, folder.bundle.manifest.recipe.name)
        if kv_cache == "float" and modes and folder.bundle.manifest.decoder.int8_cache is not None:
            advice += _cache_advice(modes, needs(folder.bundle, "int8"), limit, machine)
        if context > limit:
            advice.append(f"this model's context ends at {limit:,} tokens; {context:,} were asked for")
    codes = ((damaged, ArtifactError), (unfit, CapacityError), (without, ConfigError), (broken, EdgeError))
    return Diagnosis(
        machine=machine,
        software=software,
        model=model,
        prospects=tuple(modes),
        advice=tuple(advice),
        problems=(*broken, *damaged, *unfit, *without),
        exit_code=next((kind.exit_code for lines, kind in codes if lines), 0),
    )


def _machine(place: Path, threads: int) -> Machine:
    memory = here.memory()
    place = place if place.is_dir() else Path()
    low: float | None
    bandwidth: float | None
    try:
        low, bandwidth = here.read_bandwidths(threads)
    except (MemoryError, RuntimeError):  # neither buffers nor threads can be had
        low = bandwidth = None
    try:
        free: int | None = shutil.disk_usage(place).free
    except OSError:
        free = None
    return Machine(
        cpu=here.cpu_name(),
        physical_cores=here.num_physical_cores(),
        logical_cpus=os.cpu_count() or 1,
        instruction_sets=here.instruction_sets(),
        governor=here.governor(),
        memory_bytes=memory.total_bytes,
        memory_limit_bytes=memory.limit_bytes,
        available_bytes=memory.available_bytes,
        threads=threads,
        read_bandwidth_bytes_s=bandwidth,
        read_bandwidth_low_bytes_s=low,
        disk_path=str(place.absolute()),
        disk_free_bytes=free,
    )


def _software() -> tuple[Software, list[str]]:
    """The installation, and what is wrong with it."""
    # Read once by the library when it loads, so before the first import; a value that the user gave stays.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    packages, problems = [Package(name="edgephi", version=_installed(("edgephi",)))], []
    for module, name in _PACKAGES.items():
        found = _installed(_ORT_NAMES if module == "onnxruntime" else (name,))
        try:
            imported = importlib.import_module(module)
        except Exception as error:  # a library with missing files raises anything
            problems.append(_unusable(name, found, error))
            packages.append(Package(name=name, version=None))
        else:
            packages.append(Package(name=name, version=found or getattr(imported, "__version__", "unknown")))
    if packages[0].version is None:
        packages[0] = Package(name="edgephi", version="not installed")
    usable = any(package.name == "onnxruntime" and package.version for package in packages)
    telemetry = os.environ["ORT_DISABLE_TELEMETRY"] != "1" if usable else None
    if telemetry:
        problems.append("ONNX Runtime may send telemetry: ORT_DISABLE_TELEMETRY is set to something else than 1")
    software = Software(
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        packages=tuple(packages),
        providers=tuple(importlib.import_module("onnxruntime").get_available_providers()) if usable else (),
        telemetry=telemetry,
    )
    return software, problems


def _unusable(name: str, found: str | None, error: Exception) -> str:
    package = '"edgephi[cpu]"' if name == "onnxruntime" else name
    if found is None and isinstance(error, ImportError):
        return f"{name} is not installed; run: pip install {package}"
    return f"{name} cannot be imported ({error}); run: pip install --force-reinstall {package}"


def _installed(names: tuple[str, ...]) -> str | None:
    for name in names:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return None


def _prospect(need: MemoryEstimate, context: int, limit: int, machine: Machine) -> SpeedEstimate:
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


def _unfit(prospects: list[SpeedEstimate], machine: Machine) -> Iterator[str]:
    """One line for every mode that does not fit."""
    usable = machine.memory_bytes if machine.memory_limit_bytes is None else machine.memory_limit_bytes
    for prospect in prospects:
        if prospect.fits:
            continue
        if prospect.positions:
            advice = f"use at most {prospect.positions:,} tokens"
        elif prospect.memory_bytes <= usable:
            advice = "close other programs"
        else:
            advice = "export with a smaller recipe, or use a machine with more memory"
        yield (
            f"{prospect.takes} at {prospect.context:,} tokens needs {human_bytes(prospect.memory_bytes)} of memory "
            f"but {human_bytes(machine.available_bytes)} are available; {advice}"
        )


def _machine_advice(machine: Machine, software: Software) -> Iterator[str]:
    if machine.governor in ("powersave", "conservative"):
        yield f"the clock's governor is {machine.governor}; with `performance` answers come faster"
    sets = set(machine.instruction_sets)
    if sets and not sets & {"avx_vnni", "avx512_vnni", "amx_int8", "dotprod", "i8mm"}:
        yield "this processor has no int8 dot products; expect less than its memory allows"
    if software.providers and "CPUExecutionProvider" not in software.providers:
        yield "this ONNX Runtime has no CPU provider, which edgephi runs on; install onnxruntime"


def _cache_advice(
    prospects: list[SpeedEstimate], smaller: tuple[MemoryEstimate, ...], limit: int, machine: Machine
) -> Iterator[str]:
    """What the int8 cache, which is not in use, would add to the context of the mode that takes most."""
    most, need = max(zip(prospects, smaller, strict=True), key=lambda pair: pair[1].fixed_bytes)
    positions = min(limit, need.positions_within(machine.available_bytes))
    if positions > most.positions:
        reach = "the model's whole context" if positions == limit else f"a context up to {positions:,}"
        yield f"with --kv-cache int8 {reach} fits with {most.takes}"


def _model_advice(prospects: list[SpeedEstimate], limit: int, recipe: str) -> Iterator[str]:
    fitting = [prospect for prospect in prospects if prospect.fits]
    if fitting:
        most = max(fitting, key=lambda prospect: prospect.memory_bytes)
        reach = "the model's whole context" if most.positions == limit else f"a context up to {most.positions:,}"
        yield f"{reach} fits with {most.takes}"
    if recipe in ("fp32", "fp16", "int8") or (len(fitting) < len(prospects) and recipe != "int4-fast"):
        yield f"the recipe is {recipe}; `edgephi export --recipe int4-fast` makes the smallest and fastest folder"
