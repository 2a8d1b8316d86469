"""The progress of a request or a load, for observers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

StageName: TypeAlias = Literal["load", "queue", "preprocess", "encode", "prefill", "decode"]


@dataclass(frozen=True, slots=True)
class Stage:
    """The progress of one stage.

    Attributes:
        name: `load`: graphs and the vocabulary, of a model or, within a request, of the decoder with its adapters;
            `queue`: requests before this one; `preprocess`: images and audio to load and check; `encode`: crops of
            images and windows of audio; `prefill`: positions of the prompt, cached ones included; `decode`: new tokens,
            of `max_new_tokens` at most, so a reply usually ends before `total`.
        done: What is finished, 0 to `total`.
        total: In the unit of `name`; 0 where there is nothing of the kind.
    """

    name: StageName
    done: int
    total: int


#: Called in the thread that does the work: the one that loads or iterates the stream, or that of a request which waits
#: for a stream that nobody iterates. What it raises ends the work and is raised to the caller of the request.
OnStage: TypeAlias = Callable[[Stage], None]


def ignore_stage(_: Stage) -> None:
    """The default observer."""


class StageReporter:
    """Notifies an observer of each change once.

    Args:
        on_stage: The observer.
    """

    def __init__(self, on_stage: OnStage = ignore_stage) -> None:
        self._on_stage = on_stage
        self._last: Stage | None = None

    def report(self, name: StageName, done: int, total: int) -> None:
        """Notify the observer, unless nothing has changed since the last report."""
        stage = Stage(name, done, total)
        if stage != self._last:
            self._last = stage
            self._on_stage(stage)


class EncodingProgress:
    """Counts crops and windows over all media of a request.

    Args:
        stages: Notified of each.
    """

    def __init__(self, stages: StageReporter) -> None:
        self._stages = stages
        self._done = self._total = 0

    def expect(self, count: int, done: int = 0) -> None:
        """Add crops or windows, the first `done` of which are encoded already."""
        self._total += count
        self._done += done

    def begin_next(self) -> None:
        """One more begins."""
        self._stages.report("encode", min(self._done, self._total), self._total)
        self._done += 1

    def finish(self) -> None:
        """All are done."""
        if self._total:
            self._stages.report("encode", self._total, self._total)
