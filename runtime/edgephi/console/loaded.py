"""A model for one command: loading it can be left at any moment, and nothing frees it before the process ends."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from edgephi.console import interruption
from edgephi.console.ending import leave_to_the_end
from edgephi.ort.cancellable_run import awaited

if TYPE_CHECKING:
    from edgephi.base.stage import OnStage, Stage
    from edgephi.model import Model


@contextmanager
def loaded(load: Callable[[OnStage | None], Model], on_stage: OnStage | None = None) -> Iterator[Model]:
    """The model of `load`, closed at the end of the block only in a program that is not ours.

    Packing weights and freeing them take seconds on a large model. The command line's own process does neither to the
    end when a signal comes: its memory goes with it.

    Args:
        load: Called with an observer.
        on_stage: Called while loading, but not after the block was left.

    Raises:
        BaseException: What `load` raises, or a signal's handler.
    """
    if not interruption.is_installed():
        with load(on_stage) as model:
            yield model
        return
    from edgephi import model as _  # noqa: F401 - a signal waits for imports of this thread, not of another's

    is_left = threading.Event()

    def observe(stage: Stage) -> None:
        if on_stage is not None and not is_left.is_set():
            on_stage(stage)

    leave_to_the_end(observe)  # whatever is loaded when a signal comes is freed by nobody either
    try:
        model = awaited(lambda: load(observe))
        leave_to_the_end(model)
        yield model
    finally:
        is_left.set()
