"""The model as a transcript uses it: each window takes a turn of its own, so that others come in between."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from typing import Any, Generic, TypeVar

from edgephi import DoneEvent, Event, Reply
from edgephi.bundle.manifest import Manifest
from edgephi.transcription.requests import TranscriptRequests
from edgephi_serve.turns.jobs import Job

T = TypeVar("T")


class TurnModel(TranscriptRequests, Generic[T]):
    """Answers requests, each in a turn.

    Args:
        job: Which the turns are taken for.
    """

    def __init__(self, job: Job[T]) -> None:
        self._job = job

    @property
    def manifest(self) -> Manifest:
        """Of the model."""
        return self._job.model.manifest

    def stream(self, messages: str, **given: Any) -> Generator[Event, None, None]:
        """See Model.stream."""
        with self._job.turn(), closing(self._job.model.stream(messages, **given)) as events:
            for event in events:
                if isinstance(event, DoneEvent):
                    self.note(event.reply)
                yield event

    def encode_ahead(self, **given: Any) -> Sequence[Any]:
        """See Model.encode_ahead."""
        return self._job.model.encode_ahead(**given)

    def note(self, reply: Reply) -> None:
        """Called with each reply that has ended."""
