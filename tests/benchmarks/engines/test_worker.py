"""Workers: a process that holds a model answers, fails and dies in a way that its owner can report."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from edgephi import ModelOptions
from edgephi.bundle.bundle import Bundle
from edgephi_bench.engines.worker import WORKERS, Worker, WorkerError
from edgephi_bench.engines.workers.edgephi_decoder import DecoderEngine
from support.bundles import small_bundle

_ENGINE = """
import os

def prepare(): print("noise on stdout")

def open_engine(options):
    if options.get("refuse"): raise ValueError("the model is broken\\nin detail")
    return Engine(options)

class Engine:
    version = "7"
    def __init__(self, options): self.options = options
    def echo(self, **request):
        print("more noise")
        return [request, self.options]
    def fail(self): raise RuntimeError("no luck")
    def die(self):
        import sys
        print("last words", file=sys.stderr, flush=True)
        os._exit(3)
    def path(self):
        import sys
        return sys.path
"""


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    path = tmp_path / "engine.py"
    path.write_text(_ENGINE)
    return path


def test_requests_and_results_pass_whatever_the_engine_prints(engine: Path) -> None:
    with Worker(engine, {"a": 1}) as worker:
        assert worker.version == "7"
        assert worker.ask("echo", tokens=3) == [{"tokens": 3}, {"a": 1}]
        assert worker.start_s >= worker.load_s > 0
        assert worker.peak_bytes > 1_000_000


def test_an_error_is_reported_and_the_worker_lives_on(engine: Path) -> None:
    with Worker(engine, {}) as worker:
        with pytest.raises(WorkerError, match=r"^RuntimeError: no luck$"):
            worker.ask("fail")
        assert worker.ask("echo", x=1)[0] == {"x": 1}


def test_a_worker_that_dies_leaves_its_last_words(engine: Path) -> None:
    with Worker(engine, {}) as worker:
        for _ in range(2):  # also when it is asked again
            with pytest.raises(WorkerError, match=r"^last words$"):
                worker.ask("die")


def test_a_model_that_cannot_be_loaded_is_one_line(engine: Path) -> None:
    with pytest.raises(WorkerError, match=r"^ValueError: the model is broken$"):
        Worker(engine, {"refuse": True})


def test_a_program_that_is_not_there_is_named(engine: Path) -> None:
    with pytest.raises(WorkerError, match="/no/python cannot be run"):
        Worker(engine, {}, "/no/python")


def test_a_peers_environment_is_its_own(engine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/somewhere/of/ours")
    with Worker(engine, {}) as ours, Worker(engine, {}, sys.executable) as peer:
        assert "/somewhere/of/ours" in ours.ask("path")
        assert "/somewhere/of/ours" not in peer.ask("path")
        for path in (ours.ask("path"), peer.ask("path")):
            assert str(WORKERS) not in path  # nothing is imported from beside serve.py by accident


def test_a_closed_worker_is_gone(engine: Path) -> None:
    worker = Worker(engine, {})
    process_id = worker._process.pid
    worker.close()
    with pytest.raises(ProcessLookupError):
        os.kill(process_id, 0)


@pytest.fixture
def decoder() -> DecoderEngine:
    return DecoderEngine(Bundle(small_bundle()), "none", ModelOptions(threads=1))


@pytest.mark.parametrize("depth", [0, 1, 20])
def test_between_n_tokens_there_are_n_minus_one_steps_after_the_depth(decoder: DecoderEngine, depth: int) -> None:
    for _ in range(2):  # the second time without reading the prompt again
        assert len(decoder.decode(depth, 4)) == 3
        assert decoder._decoder.num_cached == depth + 3


def test_the_pass_after_a_pause_is_not_timed_and_leaves_the_depth_as_it_was(
    decoder: DecoderEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The first pass after a pause is slow; a warm peer beside it would look faster than it is.
    forward, before = decoder._decoder.forward, []

    def noted(*args: Any, **options: Any) -> Any:
        before.append(decoder._decoder.num_cached)
        return forward(*args, **options)

    decoder.decode(9, 3)
    monkeypatch.setattr(decoder._decoder, "forward", noted)
    assert len(decoder.decode(9, 3)) == 2
    assert before == [9, 9, 10]


def test_a_step_is_one_pass_even_where_longrope_reads_again(
    decoder: DecoderEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    # After 4,096 positions the next one belongs to the long factors: reading all again must not be in a step's time.
    decoder.decode(4096, 2)
    passes: list[Any] = []
    run = decoder._decoder._run
    monkeypatch.setattr(
        decoder._decoder, "_run", lambda *args, **options: (passes.append(args[0].shape[1]), run(*args, **options))[1]
    )
    decoder.decode(4096, 4)
    assert passes == [1, 1, 1, 1]  # the first is not timed


def test_a_prefill_reads_the_whole_prompt_every_time(decoder: DecoderEngine) -> None:
    for _ in range(2):
        assert len(decoder.prefill(33)) == 1
        assert decoder._decoder.num_cached == 33
