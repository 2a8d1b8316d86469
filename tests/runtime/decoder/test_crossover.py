"""The length from which on the graph for prefill is faster: kept where it was measured on a quiet machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgephi.base.measurements import MeasurementFile
from edgephi.decoder import crossover
from edgephi.decoder.crossover import (
    LENGTHS,
    NEVER,
    PrefillThreshold,
    Threshold,
    crossing,
    crossover_key,
    measure,
    stored,
)

#: Seconds of passes of 32 and 128 positions: the lines cross at 48.
OWN, PREFILL = {32: 0.32, 128: 1.28}, {32: 0.4, 128: 0.88}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


class Passes:
    """Both graphs on a clock that only they move.

    Args:
        delays: Added to one pass after another: what other programs take.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, delays: list[float]) -> None:
        self.now_s, self.count, self._delays = 0.0, 0, delays
        monkeypatch.setattr(crossover.time, "perf_counter", lambda: self.now_s)

    def pair(self) -> Any:
        return (lambda length: self._run(OWN[length]), lambda length: self._run(PREFILL[length]))

    def _run(self, seconds: float) -> None:
        self.now_s += seconds + (self._delays.pop(0) if self._delays else 0.0)
        self.count += 1


def test_a_quiet_machine_is_measured_in_two_rounds(monkeypatch: pytest.MonkeyPatch):
    passes = Passes(monkeypatch, [])
    assert measure(passes.pair()) == Threshold(48, is_steady=True)
    assert passes.count == 2 + 2 * 4  # one of either reads the weights


def test_a_round_that_was_disturbed_is_measured_again(monkeypatch: pytest.MonkeyPatch):
    passes = Passes(monkeypatch, [9.0, 9.0, 0.0, 1.0, 0.0, 0.5])  # both first passes, then two of the first round
    assert measure(passes.pair()) == Threshold(48, is_steady=True)
    assert passes.count == 2 + 3 * 4


def test_what_a_busy_machine_gives_serves_one_process_and_is_not_kept(monkeypatch: pytest.MonkeyPatch):
    passes = Passes(monkeypatch, [0.5 * index for index in range(99)])
    measured = measure(passes.pair())
    assert (measured.is_steady, passes.count) == (False, 2 + 4 * 4)
    threshold = PrefillThreshold(None, "a")
    threshold.pays(256, lambda: measured)
    assert (threshold.value, stored("a")) == (measured.positions, None)
    later = PrefillThreshold(None, "a")
    later.pays(256, lambda: Threshold(48, is_steady=True))
    assert (later.value, stored("a")) == (48, 48)


def test_a_busy_machine_does_not_do_without_the_graph_for_prefill(monkeypatch: pytest.MonkeyPatch):
    """By noise alone a photo would take a third longer: here each long pass of that graph is disturbed."""
    rounds = [[0.0, 0.0, 0.0, delay_s] for delay_s in (9.0, 12.0, 15.0, 18.0)]
    passes = Passes(monkeypatch, [0.0, 0.0, *(delay_s for each in rounds for delay_s in each)])
    assert measure(passes.pair()) == Threshold(256, is_steady=False)


@pytest.mark.parametrize(
    ("own", "prefill", "threshold"),
    [
        ((0.1, 0.4), (0.2, 0.4), 128),  # the lines meet at 128
        ((0.1, 0.4), (0.05, 0.2), 16),  # always faster
        ((0.32, 1.28), (0.4, 0.88), 48),  # 0.01 s a position; 0.24 s and 0.005 a position: at 48
        ((0.1, 0.4), (0.1, 0.5), NEVER),
    ],
)
def test_the_threshold_is_where_the_lines_cross(own: Any, prefill: Any, threshold: int):
    pairs = (dict(zip(LENGTHS, seconds, strict=True)) for seconds in (own, prefill))
    assert crossing(*pairs) == threshold


def test_a_damaged_or_unwritable_file_only_costs_the_measurement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    kept = MeasurementFile("prefill.json")
    kept.put("a", 64)
    kept.put("b", NEVER)
    assert (stored("a"), stored("b"), stored("c")) == (64, NEVER, None)
    (tmp_path / "edgephi" / "prefill.json").write_text('{"measurements": 7}', encoding="utf-8")
    assert stored("a") is None
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    kept.put("a", 64)
    threshold = PrefillThreshold(None, "a")
    steady = Threshold(32, is_steady=True)
    assert [threshold.pays(length, lambda: steady) for length in (255, 256, 40, 31)] == [False, True, True, False]


def test_a_limit_of_memory_has_a_threshold_of_its_own():
    """With room for packed weights a pass costs a second less, so the threshold of mapped ones is far too high."""
    keys = [crossover_key("model", "1.32", 2, memory_bytes) for memory_bytes in (None, 6 << 30, 16 << 30)]
    assert len(set(keys)) == 3
