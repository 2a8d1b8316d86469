"""Decode rates of many folders: one that is measured while the machine is slow must not look slower than the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgephi_nano import decode_rates


class _Engine:
    """Steps of a given time, the very first turn a hundred times as long; notes whose turn it is."""

    def __init__(self, name: str, step_s: float, turns: list[str]) -> None:
        self._name, self._step_s, self._turns = name, step_s, turns

    def decode(self, depth: int, tokens: int) -> list[float]:
        assert depth == 128
        self._turns.append(self._name)
        first = self._turns.count(self._name) == 1
        return [self._step_s * (100 if first else 1)] * (tokens - 1)


def test_folders_take_turns_and_the_first_one_does_not_count(monkeypatch: pytest.MonkeyPatch):
    turns: list[str] = []
    speeds = {"slow": 2.0, "fast": 1.0}

    def opened(options: dict[str, Any]) -> _Engine:
        assert options["threads"] == 1
        name = Path(options["model"]).name
        return _Engine(name, speeds[name], turns)

    monkeypatch.setattr(decode_rates, "open_engine", opened)
    found = decode_rates.measure_steps([Path("a/slow"), Path("b/fast")], threads=1, rounds=1, depth=128)
    assert found == speeds
    assert turns == ["slow", "fast"] * 2
