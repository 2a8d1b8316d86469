"""The length from which on the graph for prefill is faster on this machine: measured once, and kept for the user.

A busy machine spreads the times of equal passes, and two lines through them may cross anywhere or nowhere: such a
threshold is at most the length that was worth a measurement, since a graph of int8 is hardly ever slower there; it
serves the process that measured it, and the next one measures again.

    seconds of a pass = fixed + per position * positions         of either graph, from passes of two lengths
    threshold         = where the two lines cross, in whole steps of 16 positions

The file lies in the user's cache folder. Where it cannot be read or written, every process measures for itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from edgephi.base.hardware import cpu_name
from edgephi.base.measurements import MeasurementFile, measurement_key

#: Positions of the passes that are timed.
LENGTHS = (32, 128)
#: A stretch shorter than this is over before a measurement would be.
LEAST_MEASURED = 256
#: Stands for a graph that is never faster.
NEVER = 0
_STEP = 16
_LEAST_ROUNDS, _MOST_ROUNDS = 2, 4
#: The two fastest of equal passes on a quiet machine differ by less.
_SPREAD = 1.15
_FILE = MeasurementFile("prefill.json")


@dataclass(frozen=True, slots=True)
class Threshold:
    """What was measured.

    Attributes:
        positions: From which on the graph for prefill is faster; NEVER for none.
        is_steady: Whether equal passes took about equally long, so that the number is worth keeping.
    """

    positions: int
    is_steady: bool


def measure(passes: tuple[Callable[[int], object], Callable[[int], object]]) -> Threshold:
    """The threshold, from the fastest of two to four passes of each length.

    Args:
        passes: Run the decoder's own graph and the one for prefill over so many positions.
    """
    times: list[dict[int, list[float]]] = [{length: [] for length in LENGTHS} for _ in passes]
    for run in passes:  # reads weights from the disk
        run(LENGTHS[0])
    is_steady = False
    for done in range(1, _MOST_ROUNDS + 1):
        for run, seconds in zip(passes, times, strict=True):
            for length in LENGTHS:
                began_s = time.perf_counter()
                run(length)
                seconds[length].append(time.perf_counter() - began_s)
        is_steady = done >= _LEAST_ROUNDS and all(_agree(taken) for each in times for taken in each.values())
        if is_steady:
            break
    own, prefill = ({length: min(taken) for length, taken in each.items()} for each in times)
    positions = crossing(own, prefill)
    return Threshold(positions if is_steady else min(positions or LEAST_MEASURED, LEAST_MEASURED), is_steady)


def _agree(seconds: list[float]) -> bool:
    """Whether the two shortest of two or more times are about equal."""
    first, second = sorted(seconds)[:2]
    return second <= _SPREAD * first


def crossing(own: dict[int, float], prefill: dict[int, float]) -> int:
    """Where the lines through the seconds of two lengths cross: whole steps of 16, NEVER if they do not."""
    short, long = LENGTHS
    slopes = [(times[long] - times[short]) / (long - short) for times in (own, prefill)]
    if slopes[1] >= slopes[0]:
        return NEVER
    fixed = [times[short] - slope * short for times, slope in zip((own, prefill), slopes, strict=True)]
    at = (fixed[1] - fixed[0]) / (slopes[0] - slopes[1])
    return max(_STEP, -int(-at // _STEP) * _STEP)


def crossover_key(manifest_sha256: str, ort_version: str, threads: int, memory_bytes: int | None) -> str:
    """Names a measurement: it holds for this model, library, processor, number of threads and limit of memory.

    A limit that has room for packed weights spares each pass a second, so that far shorter prompts pay.
    """
    limit = () if memory_bytes is None else (str(memory_bytes),)
    return measurement_key(manifest_sha256, ort_version, cpu_name(), str(threads), *limit)


def stored(key: str) -> int | None:
    """The threshold that was measured before; None if none was, or the file cannot be used."""
    found = _FILE.get(key)
    return None if found is None else int(found)


class PrefillThreshold:
    """Decides which stretches go through the graph for prefill.

    Args:
        fixed: The threshold in positions, NEVER for none; None to measure it.
        key: Of the measurement.
    """

    def __init__(self, fixed: int | None, key: str) -> None:
        self._key, self._value = key, fixed
        self._is_read = False

    @property
    def value(self) -> int | None:
        """Positions, NEVER for none; None until it is read or measured."""
        return self._value

    def may_pay(self, stretch: int) -> bool:
        """Whether a stretch of so many positions goes through it, or is long enough to measure."""
        if self._value is None and not self._is_read:
            self._value, self._is_read = stored(self._key), True
        return stretch >= LEAST_MEASURED if self._value is None else self._value != NEVER and stretch >= self._value

    def pays(self, stretch: int, measured: Callable[[], Threshold]) -> bool:
        """Whether a stretch of so many positions goes through it.

        Args:
            stretch: Positions.
            measured: Measures the threshold.
        """
        if self.may_pay(stretch) and self._value is None:
            self._take(measured())
        return self.may_pay(stretch)

    def _take(self, measured: Threshold) -> None:
        """Go by it from now on, and keep it for later processes if it is worth that."""
        self._value = measured.positions
        if measured.is_steady:
            _FILE.put(self._key, measured.positions)
