"""What a machine offers, read from other machines' files: too many threads are slow, too little memory is the end."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from edgephi.base import hardware as machine
from edgephi.base.errors import ConfigError

MIB = 1 << 20


def _write(root: Path, files: dict[str, object]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n", encoding="utf-8")
    return root


def _cores(root: Path, cores: Iterable[Iterable[int]], name: str = "core_cpus_list") -> Path:
    for core in map(tuple, cores):
        for cpu in core:
            _write(root, {f"sys/devices/system/cpu/cpu{cpu}/topology/{name}": ",".join(map(str, core))})
    return root


@pytest.mark.parametrize("name", ["core_cpus_list", "thread_siblings_list"])
def test_hardware_threads_of_one_core_count_once(tmp_path: Path, name: str):
    root = _cores(tmp_path, [(0, 4), (1, 5), (2, 6), (3, 7)], name)
    assert machine.num_physical_cores(root=root, cpus=range(8)) == 4


def test_only_cores_that_the_process_may_use_count(tmp_path: Path):
    root = _cores(tmp_path, [(0, 4), (1, 5), (2, 6), (3, 7)])
    assert machine.num_physical_cores(root=root, cpus={0, 4, 1}) == 2


def test_without_a_topology_every_hardware_thread_is_a_core(tmp_path: Path):
    assert machine.num_physical_cores(root=tmp_path, cpus=range(6)) == 6
    assert machine.num_physical_cores(root=tmp_path, cpus=()) == 1


@pytest.mark.parametrize(("quota", "cores"), [("150000", 2), ("100000", 1), ("1000", 1), ("900000", 4), ("max", 4)])
def test_a_containers_quota_limits_the_cores_rounded_up(tmp_path: Path, quota: str, cores: int):
    """More threads than granted time are put to sleep together, in the middle of every step."""
    root = _write(tmp_path, {"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": f"{quota} 100000"})
    assert machine.num_physical_cores(root=root, cpus=range(4)) == cores


@pytest.mark.parametrize(("quota", "cores"), [("250000", 3), ("-1", 8)])
def test_the_quota_of_version_1_counts_as_well(tmp_path: Path, quota: str, cores: int):
    files = {
        "proc/self/cgroup": "5:memory:/\n4:cpu,cpuacct:/docker/abc\n0::/",
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": quota,  # as seen in a container: at the top, not under /docker/abc
        "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
    }
    assert machine.num_physical_cores(root=_write(tmp_path, files), cpus=range(8)) == cores


def test_the_tightest_quota_of_the_groups_around_counts(tmp_path: Path):
    files = {
        "proc/self/cgroup": "0::/user.slice/app.scope",
        "sys/fs/cgroup/user.slice/cpu.max": "200000 100000",
        "sys/fs/cgroup/user.slice/app.scope/cpu.max": "max 100000",
    }
    assert machine.num_physical_cores(root=_write(tmp_path, files), cpus=range(8)) == 2


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity masks")
def test_this_process_affinity_is_respected():
    code = (
        "import os, edgephi.base.hardware as machine\n"
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "print(machine.num_physical_cores())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
    assert 1 <= machine.num_physical_cores() <= (os.cpu_count() or 1)


def _meminfo(total: int, available: int) -> str:
    return f"MemTotal:   {total // 1024} kB\nMemFree:    12 kB\nMemAvailable:   {available // 1024} kB"


def test_a_machine_without_limits_offers_what_linux_calls_available(tmp_path: Path):
    files = {
        "proc/meminfo": _meminfo(8192 * MIB, 6000 * MIB),
        "proc/self/cgroup": "4:memory:/\n0::/",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": 9223372036854771712,  # version 1's way to say none
        "sys/fs/cgroup/memory.max": "max",
    }
    found = machine.memory(root=_write(tmp_path, files))
    assert found == machine.Memory(total_bytes=8192 * MIB, available_bytes=6000 * MIB, limit_bytes=None)
    assert found.usable_bytes == 8192 * MIB


@pytest.mark.parametrize(
    ("cgroup", "folder", "names"),
    [
        ("0::/box", "box", ("memory.max", "memory.current", "inactive_file")),
        ("3:memory:/box", "memory/box", ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")),
    ],
)
def test_a_containers_limit_is_what_can_be_had(tmp_path: Path, cgroup: str, folder: str, names: tuple[str, str, str]):
    """A container that holds more than its limit is killed, however much the machine has."""
    limit, used, cached = names
    files = {
        "proc/meminfo": _meminfo(8192 * MIB, 6000 * MIB),
        "proc/self/cgroup": cgroup,
        f"sys/fs/cgroup/{folder}/{limit}": 2000 * MIB,
        f"sys/fs/cgroup/{folder}/{used}": 900 * MIB,
        f"sys/fs/cgroup/{folder}/memory.stat": f"anon 7\n{cached} {400 * MIB}",
    }
    found = machine.memory(root=_write(tmp_path, files))
    assert found == machine.Memory(total_bytes=8192 * MIB, available_bytes=1500 * MIB, limit_bytes=2000 * MIB)
    assert found.usable_bytes == 2000 * MIB


def test_memory_is_reported_where_there_is_no_proc(tmp_path: Path):
    found = machine.memory(root=tmp_path)
    assert found.total_bytes == found.available_bytes > 64 * MIB
    assert found.limit_bytes is None


def test_instruction_sets_are_those_of_every_core(tmp_path: Path):
    """On a chip with two kinds of cores, a kernel for the larger kind would end the process on the smaller."""
    cores = "flags\t\t: fpu avx2 avx_vnni avx512f\n\nflags\t\t: fpu avx2 avx_vnni"
    assert machine.instruction_sets(root=_write(tmp_path, {"proc/cpuinfo": cores})) == ("avx2", "avx_vnni")
    arm = "Features\t: fp asimd asimddp i8mm"
    assert machine.instruction_sets(root=_write(tmp_path, {"proc/cpuinfo": arm})) == ("asimd", "dotprod", "i8mm")
    assert machine.instruction_sets(root=tmp_path / "nothing") == ()


def test_the_cpu_has_a_name_on_laptops_and_on_boards(tmp_path: Path):
    laptop = _write(tmp_path / "a", {"proc/cpuinfo": "model\t: 17\nmodel name\t: Some  CPU @ 2 GHz"})
    assert machine.cpu_name(root=laptop) == "Some CPU @ 2 GHz"
    board = _write(tmp_path / "b", {"proc/cpuinfo": "Features : asimd", "proc/device-tree/model": "Board 5\0"})
    assert machine.cpu_name(root=board) == "Board 5"
    assert machine.cpu_name(root=tmp_path / "nothing")


def test_the_governors_and_the_largest_cache_are_found(tmp_path: Path):
    cpu = "sys/devices/system/cpu"
    files = {
        f"{cpu}/cpu0/cpufreq/scaling_governor": "powersave",
        f"{cpu}/cpu1/cpufreq/scaling_governor": "performance",
        f"{cpu}/cpu0/cache/index0/size": "32K",
        f"{cpu}/cpu0/cache/index3/size": "8M",
    }
    root = _write(tmp_path, files)
    assert machine.governor(root=root) == "performance+powersave"
    assert machine.largest_cache_bytes(root=root) == 8 * MIB
    assert machine.governor(root=tmp_path / "nothing") is None
    assert machine.largest_cache_bytes(root=tmp_path / "nothing") is None


def test_the_bandwidth_reads_more_than_the_caches_hold(monkeypatch: pytest.MonkeyPatch):
    """Otherwise the speed of a cache would be promised for a model that lies in memory."""
    read: list[int] = []
    fill = machine._filled
    monkeypatch.setattr(machine, "_filled", lambda count: read.append(8 * count) or fill(count))
    monkeypatch.setattr(machine, "largest_cache_bytes", lambda: 50 * MIB)
    low, high = machine.read_bandwidths(3)
    assert 10e6 < low <= high
    assert len(read) == 3
    assert sum(read) == pytest.approx(200 * MIB, abs=64)


@pytest.mark.parametrize("threads", [0, -1])
def test_a_bandwidth_of_no_threads_is_refused(threads: int):
    with pytest.raises(ConfigError, match=f"threads is {threads}; use 1"):
        machine.read_bandwidths(threads)
