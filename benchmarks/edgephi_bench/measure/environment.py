"""The machine and the versions that a measurement was taken with."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from edgephi.base import hardware as machine

_NOTED = ("edgephi", "numpy", "onnxruntime", "onnxruntime-gpu")


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """An installed distribution."""

    name: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """The machine and versions that a number depends on besides the program.

    Attributes:
        cpu: The processor's name.
        cores: Logical processors that this process may use.
        instruction_sets: Those that quantized kernels are chosen by.
        governor: How the clock is governed; None where the system does not report it.
        memory_bytes: Of the whole machine.
        system: Operating system and its release.
        python: Version of the interpreter.
        versions: Of the packages that do the work, as far as they are installed.
        command: The command line, program name first.
    """

    cpu: str
    cores: int
    instruction_sets: tuple[str, ...]
    governor: str | None
    memory_bytes: int
    system: str
    python: str
    versions: tuple[Version, ...]
    command: tuple[str, ...]


def read_environment(command: tuple[str, ...]) -> Environment:
    """The environment of this process."""
    return Environment(
        cpu=machine.cpu_name(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        instruction_sets=machine.instruction_sets(),
        governor=machine.governor(),
        memory_bytes=machine.memory().total_bytes,
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        versions=tuple(_installed()),
        command=command,
    )


def _installed() -> list[Version]:
    found = []
    for name in _NOTED:
        try:
            found.append(Version(name=name, version=version(name)))
        except PackageNotFoundError:
            continue
    return found
