"""The peer's worker: it is asked for the work that we do, and its own answer is what is timed."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgephi_bench.engines.workers import onnxruntime_genai
from edgephi_bench.engines.workers.onnxruntime_genai import GenaiEngine


class _Generator:
    """Takes time only where it reads, chooses or steps: one tick of the clock each."""

    def __init__(self, log: list[str], clock: list[float]) -> None:
        self._log, self._clock = log, clock

    def append_tokens(self, ids: list[int]) -> None:
        self._log.append(f"read {len(ids)}")
        self._clock[0] += len(ids)

    def generate_next_token(self) -> None:
        self._log.append("step")
        self._clock[0] += 0.5

    def rewind_to(self, length: int) -> None:
        self._log.append(f"rewind {length}")


@pytest.fixture
def log() -> list[str]:
    return []


@pytest.fixture
def engine(tmp_path: Path, log: list[str], monkeypatch: pytest.MonkeyPatch) -> GenaiEngine:
    (tmp_path / "genai_config.json").write_text(json.dumps({"model": {"vocab_size": 100}}))
    clock = [0.0]
    parameters = SimpleNamespace(set_search_options=lambda **options: log.append(f"up to {options['max_length']}"))
    library: Any = SimpleNamespace(
        __version__="0",
        Config=lambda model: SimpleNamespace(overlay=lambda text: None),
        Model=lambda config: None,
        GeneratorParams=lambda model: parameters,
        Generator=lambda model, given: _Generator(log, clock),
    )
    monkeypatch.setattr(onnxruntime_genai, "import_module", lambda name: library)
    monkeypatch.setattr(onnxruntime_genai, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    return GenaiEngine(str(tmp_path), 1, 50)


def test_a_request_is_reading_choosing_and_a_step_less_than_tokens(engine: GenaiEngine, log: list[str]) -> None:
    assert engine.request(depth=30, tokens=4) == [30.0, 0.5, 0.5, 0.5, 0.5]
    assert log == ["up to 50", "read 30", *["step"] * 4]


def test_a_request_reads_everything_every_time(engine: GenaiEngine, log: list[str]) -> None:
    for _ in range(2):
        engine.request(depth=30, tokens=2)
    assert log.count("read 30") == 2


def test_steps_begin_after_an_untimed_pass(engine: GenaiEngine, log: list[str]) -> None:
    engine.decode(10, 3)
    log.clear()
    assert engine.decode(10, 3) == [0.5, 0.5]
    assert log == ["rewind 9", "read 1", "step", "step", "step"]
