"""How far a request or a load is, for whoever wants to be told before there is a first token."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

StageName: TypeAlias = Literal["load", "queue", "preprocess", "encode", "prefill"]


@dataclass(frozen=True, slots=True)
class Stage:
    """Where the work stands.

    Attributes:
        name: `load`: graphs and the vocabulary, of a model or, within a request, of the decoder with its adapters;
            `queue`: requests before this one; `preprocess`: images and audio that are read; `encode`: an image's views
            and windows of audio; `prefill`: positions of the prompt, those that were kept from before included.
        done: What is finished, 0 to `total`.
        total: In the unit of `name`; 0 where there is nothing of the kind.
    """

    name: StageName
    done: int
    total: int


#: Called in the thread that does the work: the one that loads or iterates the stream, or that of a request which waits
#: for a stream that nobody iterates. What it raises ends the work and is raised to whoever asked for it.
OnStage: TypeAlias = Callable[[Stage], None]


def ignore_stage(_: Stage) -> None:
    """The default observer."""


class Stages:
    """Tells an observer of each change once.

    Args:
        on_stage: The observer.
    """

    def __init__(self, on_stage: OnStage = ignore_stage) -> None:
        self._on_stage = on_stage
        self._last: Stage | None = None

    def tell(self, name: StageName, done: int, total: int) -> None:
        """Where the work stands now."""
        stage = Stage(name, done, total)
        if stage != self._last:
            self._last = stage
            self._on_stage(stage)


class EncodingSteps:
    """Counts views and windows over all media of a request.

    Args:
        stages: Told of each.
    """

    def __init__(self, stages: Stages) -> None:
        self._stages = stages
        self._done = self._total = 0

    def expect(self, count: int) -> None:
        """There are so many more."""
        self._total += count

    def begin_next(self) -> None:
        """One is begun."""
        self._stages.tell("encode", min(self._done, self._total), self._total)
        self._done += 1

    def finish(self) -> None:
        """All are done."""
        if self._total:
            self._stages.tell("encode", self._total, self._total)
