"""Work that takes seconds ends soon after it is asked to, and never goes on behind the caller's back."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from edgephi.base.cancellation import Stopped
from edgephi.ort import cancellable_run as module
from edgephi.ort.cancellable_run import cancellable, cancellable_run
from edgephi.ort.session import DeviceOptions, open_session, runtime

SIDE, NODES = 384, 20_000  # minutes of work in all, some milliseconds a node


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    assert not [thread for thread in threading.enumerate() if thread.name == "edgephi-work"]


class Endless:
    """Work that goes on until it is to end."""

    def __init__(self, slow_s: float = 0.0) -> None:
        self.begun, self.end_request = threading.Event(), threading.Event()
        self.ended = False
        self._slow_s = slow_s

    def __call__(self) -> None:
        self.begun.set()
        self.end_request.wait()
        time.sleep(self._slow_s)
        self.ended = True
        raise RuntimeError("was ended")


@pytest.fixture(scope="module")
def endless_graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("graph") / "endless.onnx"
    start = ir.val("x", ir.DataType.FLOAT, [SIDE, SIDE])
    nodes, last = [], start
    for _ in range(NODES):
        nodes.append(ir.node("MatMul", [last, start]))
        last = nodes[-1].outputs[0]
    last.name, last.dtype, last.shape = "y", ir.DataType.FLOAT, ir.Shape([SIDE, SIDE])
    graph = ir.Graph([start], [last], nodes=nodes, opset_imports={"": 17}, name="endless")
    ir.save(ir.Model(graph, ir_version=8), path)
    return path


def test_a_run_of_minutes_ends_when_the_caller_wants_to_stop(endless_graph: Path):
    session = open_session(endless_graph, DeviceOptions(threads=1))
    results: list[Any] = []

    def run(options: Any) -> None:
        results.append(session.run(["y"], {"x": np.zeros((SIDE, SIDE), np.float32)}, options))

    with pytest.raises(Stopped):
        cancellable_run(runtime(), run, lambda: True)
    assert not results


def test_loading_ends_when_the_caller_wants_to_stop(endless_graph: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "_GRACE_S", 0.0)
    with pytest.raises(Stopped):
        open_session(endless_graph, DeviceOptions(threads=1), lambda: True)


def test_what_the_work_gives_or_raises_comes_through(monkeypatch: pytest.MonkeyPatch):
    assert cancellable(lambda: 7, lambda: None) == 7

    def fail() -> None:
        raise MemoryError("of the work")

    with pytest.raises(MemoryError, match="of the work"):
        cancellable(fail, lambda: None)


def test_short_work_is_never_asked_about():
    """A caller that counts its answers, as between tokens, must not be asked more often because a machine is slow."""
    asked: list[int] = []
    assert cancellable(lambda: 1, lambda: None, lambda: bool(asked.append(1))) == 1
    assert not asked


def test_the_callers_own_thread_is_asked():
    threads: list[int] = []
    work = Endless()

    def should_stop() -> bool:
        threads.append(threading.get_ident())
        return len(threads) == 3

    with pytest.raises(Stopped):
        cancellable(work, work.end_request.set, should_stop)
    assert threads == [threading.get_ident()] * 3
    assert work.ended


def test_an_error_of_the_caller_ends_the_work_first():
    work = Endless()

    def should_stop() -> bool:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cancellable(work, work.end_request.set, should_stop)
    assert work.ended


def _pressing(begun: threading.Event, *after_s: float) -> threading.Thread:
    """Ctrl-C in the main thread, so long after the work began."""

    def press() -> None:
        begun.wait()
        for pause_s in after_s:
            time.sleep(pause_s)
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    return thread


@pytest.mark.parametrize(
    ("presses", "slow_s"), [((0.1,), 0.0), ((0.02,), 0.3), ((0.1, 0.1), 0.5), ((0.1, 0.05, 0.05), 0.5)]
)
def test_ctrl_c_ends_the_work_and_waits_for_it_however_often_it_is_pressed(presses: tuple[float, ...], slow_s: float):
    work = Endless(slow_s)
    pressing = _pressing(work.begun, *presses)
    with pytest.raises(KeyboardInterrupt):
        cancellable(work, work.end_request.set)
    assert work.ended
    pressing.join()


def test_without_a_thread_to_be_had_the_work_is_done_all_the_same(monkeypatch: pytest.MonkeyPatch):
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert cancellable(threading.get_ident, lambda: None) == threading.get_ident()


def test_arrays_of_failed_work_are_not_kept():
    """Logits of a long pass are hundreds of megabytes; an error that holds its frames would hold them."""
    import gc  # noqa: PLC0415
    import weakref  # noqa: PLC0415

    class Large:
        pass

    def attempt(work: Callable[[Large], None]) -> weakref.ref[Large]:
        large = Large()
        with pytest.raises(ValueError, match="failed"):
            cancellable(lambda: work(large), lambda: None)
        return weakref.ref(large)

    def fail(_: Large) -> None:
        raise ValueError("failed")

    gc.disable()
    try:
        assert attempt(fail)() is None
    finally:
        gc.enable()
