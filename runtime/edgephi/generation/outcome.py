"""The reply at the end of a stream of events."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from edgephi.base.errors import EdgeError
from edgephi.generation.reply import DoneEvent, Event, Reply


def ignore_event(_: Event) -> None:
    """The default observer."""


def reply_of(events: Iterable[Event], on_event: Callable[[Event], None] = ignore_event) -> Reply:
    """Iterate the events up to the finished reply.

    Args:
        events: As `Model.stream` yields them.
        on_event: Called with each of them, the last included.

    Raises:
        EdgeError: They end without a reply.
    """
    for event in events:
        on_event(event)
        if isinstance(event, DoneEvent):
            return event.reply
    raise EdgeError("the generation ended without a reply")
