"""The hardware that a model runs on: cores, memory, instruction sets, speed of memory.

Every reader takes the file system's root, so that another machine's files can be read. Files that are not there, as
outside Linux, leave what the operating system reports in general.
"""

from __future__ import annotations

import math
import os
import platform
import re
import statistics
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgephi.base.errors import ConfigError

_ROOT = Path("/")
_CPUS = "sys/devices/system/cpu"
#: Those that ONNX Runtime's quantized kernels choose by, as Linux spells them -> as people do.
_INSTRUCTION_SETS = {
    "avx2": "avx2",
    "avx_vnni": "avx_vnni",
    "avx512f": "avx512f",
    "avx512_vnni": "avx512_vnni",
    "avx512_bf16": "avx512_bf16",
    "amx_int8": "amx_int8",
    "asimd": "asimd",
    "asimddp": "dotprod",
    "i8mm": "i8mm",
    "sve": "sve",
}
_CACHE_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_SMALLEST_READ, _LARGEST_READ = 128 << 20, 1 << 30
_READ_SECONDS, _READ_ROUNDS = 0.8, 20
_READING = 4  # rounds of one reading: a single one can meet a stall of the host


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Of the machine, and what the control group leaves of it.

    Attributes:
        total_bytes: Built in.
        available_bytes: What this process can still take without swapping, the group's limit included.
        limit_bytes: Of the control group; None where it sets none below `total_bytes`.
    """

    total_bytes: int
    available_bytes: int
    limit_bytes: int | None

    @property
    def usable_bytes(self) -> int:
        """The most a process could ever hold here: the group's limit, or everything."""
        return self.total_bytes if self.limit_bytes is None else self.limit_bytes


def num_physical_cores(*, root: Path = _ROOT, cpus: Iterable[int] | None = None) -> int:
    """Cores that this process may use, at least 1; the two hardware threads of a core count once.

    Args:
        root: Of the file system.
        cpus: Hardware threads to count the cores of; None for this process's affinity mask.
    """
    allowed = sorted(_affinity() if cpus is None else set(cpus))
    cores = {_siblings(root, cpu) for cpu in allowed}
    quota = _cpu_quota(root)
    return max(1, len(cores) if quota is None else min(len(cores), math.ceil(quota)))


def num_hardware_threads() -> int:
    """Hardware threads that this process may use, by its affinity mask."""
    return len(_affinity())


def memory(*, root: Path = _ROOT) -> Memory:
    """Memory of the machine and of this process's control group."""
    facts = dict(re.findall(r"^(\w+):\s+(\d+) kB$", _text(root / "proc/meminfo"), re.MULTILINE))
    total = int(facts["MemTotal"]) * 1024 if "MemTotal" in facts else _installed_bytes()
    free = int(facts["MemAvailable"]) * 1024 if "MemAvailable" in facts else total
    limits = [(limit, used) for limit, used in _memory_limits(root) if limit < total]
    return Memory(
        total_bytes=total,
        available_bytes=max(0, min([free, *(limit - used for limit, used in limits)])),
        limit_bytes=min((limit for limit, _ in limits), default=None),
    )


def swap_bytes(*, root: Path = _ROOT) -> int:
    """Free swap that this process's control group may use."""
    found = re.search(r"^SwapFree:\s+(\d+) kB$", _text(root / "proc/meminfo"), re.MULTILINE)
    free = int(found[1]) * 1024 if found else 0
    for folder in _group_folders(root, None):
        limit, used = _number(_text(folder / "memory.swap.max")), _number(_text(folder / "memory.swap.current"))
        free = free if limit is None else min(free, max(0, limit - (used or 0)))
    for folder in _group_folders(root, "memory"):
        both, memory_limit = (_number(_text(folder / f"memory.{name}limit_in_bytes")) for name in ("memsw.", ""))
        free = free if both is None or memory_limit is None else min(free, max(0, both - memory_limit))
    return free


def cpu_name(*, root: Path = _ROOT) -> str:
    """The processor's name, the board's where the processor has none, else the architecture."""
    text = _text(root / "proc/cpuinfo")
    for key in ("model name", "Model", "Hardware"):
        if found := re.search(rf"^{key}\s*:\s*(\S.*)$", text, re.MULTILINE):
            return " ".join(found[1].split())
    board = _text(root / "proc/device-tree/model").strip("\0 \n")
    return board or platform.processor() or platform.machine() or "unknown"


def instruction_sets(*, root: Path = _ROOT) -> tuple[str, ...]:
    """Of those that make ONNX Runtime's quantized kernels faster, the ones every core has."""
    lines = re.findall(r"^(?:flags|Features)\s*:(.*)$", _text(root / "proc/cpuinfo"), re.MULTILINE)
    common = set.intersection(*(set(line.split()) for line in lines)) if lines else set()
    return tuple(name for flag, name in _INSTRUCTION_SETS.items() if flag in common)


def governor(*, root: Path = _ROOT) -> str | None:
    """How the clock is governed, such as `performance`; several joined by `+`; None where nothing states it."""
    files = sorted((root / _CPUS).glob("cpu[0-9]*/cpufreq/scaling_governor"))
    return "+".join(sorted({text for path in files if (text := _text(path).strip())})) or None


def largest_cache_bytes(*, root: Path = _ROOT) -> int | None:
    """Of the first core's caches the largest, often shared; None where nothing states it."""
    sizes = [_text(path).strip() for path in (root / _CPUS).glob("cpu0/cache/index*/size")]
    known = [int(size[:-1]) * _CACHE_UNITS[size[-1]] for size in sizes if re.fullmatch(r"\d+[KMG]", size)]
    return max(known, default=None)


def read_bandwidths(threads: int) -> tuple[float, float]:
    """Bytes a second that so many threads read from memory together: slowest and fastest of some readings.

    They take under two seconds; on a shared machine the next hour may go beyond both. Each thread reduces a buffer of
    its own; together they are several times as large as the caches.

    Raises:
        ConfigError: Less than one thread.
    """
    if threads < 1:
        raise ConfigError(f"threads is {threads}; use 1 or more")
    wanted = 4 * (largest_cache_bytes() or 0)
    total = min(max(wanted, _SMALLEST_READ), _LARGEST_READ, max(memory().available_bytes // 4, threads * 8))
    with ThreadPoolExecutor(threads) as pool:
        # Filled by the pool: pages that nobody has written all map to one page of zeros, which the caches hold.
        buffers = list(pool.map(_filled, [total // threads // 8] * threads))
        taken: list[float] = []
        end = time.perf_counter() + _READ_SECONDS
        for _ in range(_READ_ROUNDS):
            before = time.perf_counter()
            list(pool.map(np.bitwise_or.reduce, buffers))
            after = time.perf_counter()
            taken.append(after - before)
            if after > end:
                break
    total_bytes = sum(buffer.nbytes for buffer in buffers)
    readings = [total_bytes / statistics.fmean(taken[i : i + _READING]) for i in range(0, len(taken), _READING)]
    return min(readings), max(readings)


def _filled(count: int) -> NDArray[np.int64]:
    return np.full(count, 1, np.int64)


def _affinity() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return set(os.sched_getaffinity(0))
    return set(range(os.cpu_count() or 1))


def _siblings(root: Path, cpu: int) -> str:
    """The key that the hardware threads of one core have in common and no others."""
    topology = root / _CPUS / f"cpu{cpu}" / "topology"
    # Linux 5.3 gave the file a better name; core_id alone repeats in every socket, and is -1 on some ARM boards.
    listed = _text(topology / "core_cpus_list") or _text(topology / "thread_siblings_list")
    return listed.strip() or str(cpu)


def _cpu_quota(root: Path) -> float | None:
    """Cores' worth of time that the control group grants; None without a limit."""
    one_file = (_text(folder / "cpu.max").partition(" ")[::2] for folder in _group_folders(root, None))
    two_files = (
        (_text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us"))
        for folder in _group_folders(root, "cpu")
    )
    microseconds = [(_number(quota), _number(period)) for quota, period in (*one_file, *two_files)]
    return min((quota / period for quota, period in microseconds if quota and period), default=None)


def _memory_limits(root: Path) -> Iterator[tuple[int, int]]:
    """Limit and use of each control group that has one, this process's and those around it."""
    files = (
        (None, "memory.max", "memory.current", ""),
        ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_"),
    )
    for controller, limit_name, used_name, cached_prefix in files:
        for folder in _group_folders(root, controller):
            limit = _number(_text(folder / limit_name))
            if limit is None:
                continue
            # Files that were read count as used, but their pages are given back on demand.
            stat = _text(folder / "memory.stat")
            cached = re.findall(rf"^{cached_prefix}(?:in)?active_file (\d+)$", stat, re.MULTILINE)
            yield limit, max(0, (_number(_text(folder / used_name)) or 0) - sum(map(int, cached)))


def _group_folders(root: Path, controller: str | None) -> Iterator[Path]:
    """Folders of this process's control group and those around it; `controller` None for version 2's one tree.

    Inside a container the path is often the host's, which is not there; the mount's top then is the container's own.
    """
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if (names == "") if controller is None else (controller in names.split(",")):
            mount = root / "sys/fs/cgroup" / (controller or "")
            parts = [part for part in path.split("/") if part not in ("", "..")]
            yield from (mount.joinpath(*parts[:depth]) for depth in range(len(parts), -1, -1))


def _installed_bytes() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _number(text: str) -> int | None:
    """A count of 0 or more; None for `max`, -1 and nothing."""
    return int(text) if re.fullmatch(r"\d+", text := text.strip()) else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
