"""Joules between two moments, where the machine has them: Intel's and AMD's RAPL counters, power sensors, the battery.

What is measured is the package, the board or the whole device, other programs' part included; the source's name says
which. Every reader takes the file system's root.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgephi_bench.measure.system_files import number_in, text_in

_ROOT = Path("/")
_SAMPLE_SECONDS = 0.05
#: A sensor that is sampled shows an average of its own; over a shorter time than this it measures nothing.
_LEAST_SAMPLED_SECONDS = 0.3
_LEAST_COUNTED_SECONDS = 0.005  # RAPL counts in steps of about a millisecond
_MICRO, _MILLI = 1e-6, 1e-3


@dataclass(frozen=True, slots=True)
class _Counter:
    """Microjoules that only rise, and begin again at 0 after `largest`."""

    path: Path
    largest: float

    def read(self) -> float | None:
        return number_in(self.path)

    def between(self, before: float, after: float) -> float:
        """Joules, if it began again at most once."""
        gone = after - before
        return (gone if gone >= 0 else gone + self.largest) * _MICRO


class EnergyMeter:
    """Measures one time span after another.

    Args:
        root: Of the file system.
        clock: Seconds; for tests.

    Attributes:
        source: What is read, such as `RAPL package-0`; None where the machine reports nothing.
        reason: Why there is no source, in a few words.
    """

    def __init__(self, root: Path = _ROOT, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.source: str | None = None
        self.reason: str | None = None
        self._watts: Callable[[], float | None] | None = None
        self._counters, names, closed = _rapl(root)
        if self._counters:
            self.source = "RAPL " + " + ".join(names)
        elif found := _power(root):
            self.source, self._watts = found
        else:
            self.reason = "RAPL's counters may be read by root only" if closed else "this machine has no energy sensor"
        self._begin = 0.0
        self._before: list[float | None] = []
        self._samples: list[float] = []
        self._end = threading.Event()
        self._sampler: threading.Thread | None = None

    def start(self) -> None:
        """A time span begins."""
        self._begin = self._clock()
        self._before = [counter.read() for counter in self._counters]
        if self._watts:
            self._samples, self._end = [], threading.Event()
            self._sampler = threading.Thread(target=self._sample, daemon=True)
            self._sampler.start()

    def stop(self) -> float | None:
        """Joules since `start`; None where nothing reports them or the span was too short."""
        if self._sampler:
            self._end.set()
            self._sampler.join()
            self._sampler = None
            seconds = self._clock() - self._begin
            if not self._samples or seconds < _LEAST_SAMPLED_SECONDS:
                return None
            return sum(self._samples) / len(self._samples) * seconds
        after = [counter.read() for counter in self._counters]
        if not after or self._clock() - self._begin < _LEAST_COUNTED_SECONDS:
            return None
        total = 0.0
        for counter, first, last in zip(self._counters, self._before, after, strict=True):
            if first is None or last is None:
                return None
            total += counter.between(first, last)
        return total

    def _sample(self) -> None:
        assert self._watts is not None  # the thread is started only where there is a sensor
        while True:
            watts = self._watts()
            if watts is not None:
                self._samples.append(watts)
            if self._end.wait(_SAMPLE_SECONDS):
                return


def _rapl(root: Path) -> tuple[list[_Counter], list[str], bool]:
    """The packages' counters, their names, and whether there are some that may not be read.

    A package has its cores and graphics as children, which are in it already; `psys` would count it twice.
    """
    counters, names, closed = [], [], False
    for folder in sorted((root / "sys/class/powercap").glob("intel-rapl:*")):
        name = text_in(folder / "name")
        if folder.name.count(":") != 1 or not name.startswith("package"):
            continue
        largest = number_in(folder / "max_energy_range_uj")
        if largest is None or number_in(folder / "energy_uj") is None:
            closed |= (folder / "energy_uj").exists()
            continue
        counters.append(_Counter(folder / "energy_uj", largest))
        names.append(name)
    return counters, names, closed


def _power(root: Path) -> tuple[str, Callable[[], float | None]] | None:
    """A sensor's name and what reads its watts: INA chips first, then the battery while it discharges."""
    for folder in sorted((root / "sys/class/hwmon").glob("hwmon*")):
        name = text_in(folder / "name")
        if name.startswith("ina") and (found := _ina(folder)):
            return name, found
    for path in sorted((root / "sys/bus/iio/devices").glob("iio:device*/in_power0_input")):
        if number_in(path) is not None:
            return text_in(path.parent / "name") or path.parent.name, _scaled(path, _MILLI)
    for folder in sorted((root / "sys/class/power_supply").glob("*")):
        if text_in(folder / "type") == "Battery" and text_in(folder / "status") == "Discharging":
            found = _battery(folder)
            if found:
                return f"battery {folder.name}", found
    return None


def _ina(folder: Path) -> Callable[[], float | None] | None:
    """The first rail, which on the boards that have such chips is the input."""
    if number_in(folder / "power1_input") is not None:
        return _scaled(folder / "power1_input", _MICRO)
    volts, amperes = folder / "in1_input", folder / "curr1_input"
    return _product(volts, amperes, _MILLI) if None not in (number_in(volts), number_in(amperes)) else None


def _battery(folder: Path) -> Callable[[], float | None] | None:
    if number_in(folder / "power_now") is not None:
        return _scaled(folder / "power_now", _MICRO)
    volts, amperes = folder / "voltage_now", folder / "current_now"
    return _product(volts, amperes, _MICRO) if None not in (number_in(volts), number_in(amperes)) else None


def _scaled(path: Path, unit: float) -> Callable[[], float | None]:
    def read() -> float | None:
        number = number_in(path)
        return None if number is None else abs(number) * unit

    return read


def _product(first: Path, second: Path, unit: float) -> Callable[[], float | None]:
    def read() -> float | None:
        one, other = number_in(first), number_in(second)
        return None if one is None or other is None else abs(one * other) * unit * unit

    return read
