"""The facts of a machine that decide how a model runs on it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgephi.base import hardware
from edgephi.ort.vulkan import GpuFacts, vulkan_gpus

#: A processor with one of these multiplies int8 in one instruction.
_INT8_SETS = {"avx_vnni", "avx512_vnni", "amx_int8", "dotprod", "i8mm"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A machine as this process may use it; `edgephi.base.hardware` explains each fact.

    Attributes:
        threads: That the bandwidth was measured with.
        read_bandwidth_bytes_s: The fastest of several readings; None where it could not be measured.
        read_bandwidth_low_bytes_s: The slowest of them.
        disk_path: Of the model folder, or where the command runs.
        disk_free_bytes: There, for this user.
        gpus: As Vulkan lists them; none where there is no Vulkan.
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
    gpus: tuple[GpuFacts, ...] = ()

    @property
    def usable_bytes(self) -> int:
        """Memory that this process could have if no other program ran."""
        return self.memory_bytes if self.memory_limit_bytes is None else self.memory_limit_bytes

    def advice(self) -> Iterator[str]:
        """A line for each fact that slows a model down."""
        if self.governor in ("powersave", "conservative"):
            yield f"the clock's governor is {self.governor}; with `performance` answers come faster"
        if self.instruction_sets and not _INT8_SETS.intersection(self.instruction_sets):
            yield "this processor has no int8 dot products; expect less than its memory allows"


def measure_machine(folder: Path, threads: int | None = None) -> Machine:
    """The facts of this machine; measuring the memory's bandwidth takes about a second.

    Args:
        folder: Whose disk counts; the current folder where there is none.
        threads: To measure the bandwidth with; None for every physical core.
    """
    memory = hardware.memory()
    threads = threads or hardware.num_physical_cores()
    place = folder if folder.is_dir() else Path()
    low, high = _bandwidths(threads)
    return Machine(
        cpu=hardware.cpu_name(),
        physical_cores=hardware.num_physical_cores(),
        logical_cpus=os.cpu_count() or 1,
        instruction_sets=hardware.instruction_sets(),
        governor=hardware.governor(),
        memory_bytes=memory.total_bytes,
        memory_limit_bytes=memory.limit_bytes,
        available_bytes=memory.available_bytes,
        threads=threads,
        read_bandwidth_bytes_s=high,
        read_bandwidth_low_bytes_s=low,
        disk_path=str(place.absolute()),
        disk_free_bytes=_free_bytes(place),
        gpus=vulkan_gpus(),
    )


def _bandwidths(threads: int) -> tuple[float | None, float | None]:
    """The slowest and the fastest reading."""
    try:
        return hardware.read_bandwidths(threads)
    except (MemoryError, RuntimeError):  # neither buffers nor threads can be had
        return None, None


def _free_bytes(place: Path) -> int | None:
    try:
        return shutil.disk_usage(place).free
    except OSError:
        return None
