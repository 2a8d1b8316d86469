"""The machine and the versions that a measurement was taken with."""

from __future__ import annotations

import platform
from dataclasses import dataclass

from edgephi.base import hardware as machine
from edgephi.base.version import ORT_PACKAGES, installed_version


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
        cores=machine.num_hardware_threads(),
        instruction_sets=machine.instruction_sets(),
        governor=machine.governor(),
        memory_bytes=machine.memory().total_bytes,
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        versions=tuple(_installed()),
        command=command,
    )


def _installed() -> list[Version]:
    found = {name: installed_version(name) for name in ("edgephi", "numpy", *ORT_PACKAGES)}
    return [Version(name=name, version=version) for name, version in found.items() if version is not None]
