"""The length from which on the graph for prefill is faster on this machine: measured once, and kept for the user.

    seconds of a pass = fixed + per position * positions         of either graph, from passes of two lengths
    threshold         = where the two lines cross, in whole steps of 16 positions

The file lies in the user's cache folder. Where it cannot be read or written, every process measures for itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from edgephi.base.hardware import cpu_name
from edgephi.base.measurements import MeasurementFile, measurement_key

#: Positions of the passes that are timed.
LENGTHS = (32, 128)
#: A stretch shorter than this is over before a measurement would be.
LEAST_MEASURED = 256
#: Stands for a graph that is never faster.
NEVER = 0
_STEP = 16
_ROUNDS = 2
_FILE = MeasurementFile("prefill.json")


def measure(passes: tuple[Callable[[int], object], Callable[[int], object]]) -> int:
    """The threshold in positions, NEVER where the second is never faster.

    Args:
        passes: Run the decoder's own graph and the one for prefill over so many positions.
    """
    times: list[dict[int, float]] = [{}, {}]
    for run in passes:  # reads weights from the disk
        run(LENGTHS[0])
    for _ in range(_ROUNDS):
        for run, seconds in zip(passes, times, strict=True):
            for length in LENGTHS:
                began_s = time.perf_counter()
                run(length)
                took_s = time.perf_counter() - began_s
                seconds[length] = min(took_s, seconds.get(length, took_s))
    return crossing(times[0], times[1])


def crossing(own: dict[int, float], prefill: dict[int, float]) -> int:
    """Where the lines through the seconds of two lengths cross: whole steps of 16, NEVER if they do not."""
    short, long = LENGTHS
    slopes = [(times[long] - times[short]) / (long - short) for times in (own, prefill)]
    if slopes[1] >= slopes[0]:
        return NEVER
    fixed = [times[short] - slope * short for times, slope in zip((own, prefill), slopes, strict=True)]
    at = (fixed[1] - fixed[0]) / (slopes[0] - slopes[1])
    return max(_STEP, -int(-at // _STEP) * _STEP)


def crossover_key(manifest_sha256: str, ort_version: str, threads: int) -> str:
    """Names a measurement: it holds for this model, library, processor and number of threads."""
    return measurement_key(manifest_sha256, ort_version, cpu_name(), str(threads))


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

    def pays(self, stretch: int, measured: Callable[[], int | None]) -> bool:
        """Whether a stretch of so many positions goes through it.

        Args:
            stretch: Positions.
            measured: Measures the threshold; None where that is not possible now.
        """
        if self._value is None and not self._is_read:
            self._value, self._is_read = stored(self._key), True
        if self._value is None and stretch >= LEAST_MEASURED:
            self._value = measured()
            if self._value is not None:
                _FILE.put(self._key, self._value)
        return bool(self._value) and stretch >= (self._value or 0)
