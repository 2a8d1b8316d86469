"""The machine's state beside a round: other programs' work, clock and temperature.

Every reader takes the file system's root, so that another machine's files can be read; what a machine does not report
is None.
"""

from __future__ import annotations

import os
import re
import statistics
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from edgephi_bench.measure.system_files import number_in, text_in

#: From so many processors on, others' work is worth a warning.
BUSY_PROCESSORS = 0.1
_ROOT = Path("/")
#: The kernel counts work in hundredths of a second; in a shorter time than this they say little.
_LEAST_SECONDS = 0.2
#: Columns of /proc/stat after the name: idle and iowait are no work; guests are in user and nice already.
_IDLE, _WAIT, _STEAL, _COLUMNS = 3, 4, 7, 8
#: Fields of /proc/PID/stat after the name in parentheses: state is 0.
_PARENT, _TIMES = 1, slice(11, 15)


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineState:
    """The machine during one round; None where it does not report a value.

    Attributes:
        load: Average number of runnable programs over the last minute.
        others: Processors kept busy by programs that are not part of the measurement.
        stolen: Processors that the host of a virtual machine took away.
        mhz: Mean clock at the round's end.
        celsius: Warmest sensor at the round's end.
    """

    load: float | None = None
    others: float | None = None
    stolen: float | None = None
    mhz: float | None = None
    celsius: float | None = None


@dataclass(frozen=True, slots=True)
class _Work:
    """Seconds of processors since the machine's start, and when that was read."""

    at: float
    all: float
    stolen: float
    ours: float


class MachineWatch:
    """Measures the machine between two moments.

    Args:
        root: Of the file system.
        process_id: Whose work, with that of all it started, is the measurement's own; None for this process.
    """

    def __init__(self, root: Path = _ROOT, process_id: int | None = None) -> None:
        self._root, self._process_id = root, process_id or os.getpid()
        self._ticks = float(os.sysconf("SC_CLK_TCK")) if hasattr(os, "sysconf") else 100.0
        self._before = self._work()

    def start(self) -> None:
        """A round begins."""
        self._before = self._work()

    def stop(self) -> MachineState:
        """A round has ended."""
        before, after = self._before, self._work()
        others = stolen = None
        if before and after and after.at - before.at >= _LEAST_SECONDS:
            seconds = after.at - before.at
            stolen = max(after.stolen - before.stolen, 0.0) / seconds
            ours = max(after.ours - before.ours, 0.0)
            others = max(after.all - before.all - ours, 0.0) / seconds
        return MachineState(
            load=_load(self._root),
            others=others,
            stolen=stolen,
            mhz=clock_mhz(self._root),
            celsius=temperature_celsius(self._root),
        )

    def _work(self) -> _Work | None:
        line = text_in(self._root / "proc/stat").partition("\n")[0].split()
        if len(line) < _COLUMNS + 1 or line[0] != "cpu":
            return None
        columns = [int(word) / self._ticks for word in line[1 : _COLUMNS + 1]]
        stolen = columns[_STEAL]
        busy = sum(columns) - columns[_IDLE] - columns[_WAIT] - stolen
        return _Work(time.monotonic(), busy, stolen, self._own_ticks() / self._ticks)

    def _own_ticks(self) -> int:
        """Of this process, of what it started and of what of that has ended."""
        processes = {}
        for path in (self._root / "proc").glob("[0-9]*/stat"):
            fields = text_in(path).rpartition(")")[2].split()
            if len(fields) >= _TIMES.stop:
                processes[int(path.parent.name)] = (int(fields[_PARENT]), sum(map(int, fields[_TIMES])))
        return sum(ticks for number, (_, ticks) in processes.items() if self._is_ours(number, processes))

    def _is_ours(self, number: int, processes: dict[int, tuple[int, int]]) -> bool:
        for _ in range(len(processes)):
            if number == self._process_id:
                return True
            if number not in processes:
                return False
            number = processes[number][0]
        return False


def clock_mhz(root: Path = _ROOT) -> float | None:
    """Mean of all processors: as the kernel's governor reports it, else as /proc/cpuinfo does."""
    found = [number_in(path) for path in root.glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq")]
    kilohertz = [number for number in found if number]
    if kilohertz:
        return statistics.fmean(kilohertz) / 1000
    megahertz = re.findall(r"^cpu MHz\s*:\s*([\d.]+)", text_in(root / "proc/cpuinfo"), re.MULTILINE)
    return statistics.fmean(map(float, megahertz)) if megahertz else None


def temperature_celsius(root: Path = _ROOT) -> float | None:
    """Of the warmest thermal zone; where there are none, of the warmest sensor of the hardware monitors."""
    for pattern in ("sys/class/thermal/thermal_zone*/temp", "sys/class/hwmon/hwmon*/temp*_input"):
        found = [number / 1000 for path in root.glob(pattern) if (number := number_in(path)) is not None]
        plausible = [celsius for celsius in found if -40 < celsius < 150]
        if plausible:
            return max(plausible)
    return None


def busy_warning(rounds: Iterable[MachineState], processors: int) -> str | None:
    """One line where other programs, or the host of the machine, worked beside the rounds."""
    known = [item for item in rounds if item.others is not None]
    busy = [item for item in known if (item.others or 0.0) + (item.stolen or 0.0) > BUSY_PROCESSORS]
    if not busy:
        return None
    work = [(item.others or 0.0) + (item.stolen or 0.0) for item in busy]
    return (
        f"warning: other programs computed beside {len(busy)} of {len(known)} rounds, on {statistics.median(work):.1f} "
        f"of {processors} processors; these are figures of a busy machine"
    )


def _load(root: Path) -> float | None:
    words = text_in(root / "proc/loadavg").split()
    with suppress(ValueError, IndexError):
        return float(words[0])
    return None
