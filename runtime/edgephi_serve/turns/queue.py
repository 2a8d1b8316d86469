"""Whose turn it is at the model: requests in the order in which they came, but for the pause of a long one.

A request that holds its turn may make room for a short one: it goes on right after it, before everyone else.
"""

from __future__ import annotations

import threading
import time
from typing import Protocol

_POLL_S = 0.02
#: A request overtakes only if it takes less than this part of all that the other does before its first token. With a
#: part of what is left, one that came in a photo's last pass but one would wait for both, and for the whole reply.
_SHORT = 0.25


class Claim(Protocol):
    """A request that wants a turn."""

    @property
    def estimate_s(self) -> float:
        """How long its turn will take; infinite where that is not known."""

    @property
    def held_s(self) -> float:
        """How long it has had its turns, all together."""

    @property
    def delayed_s(self) -> float:
        """How long it has waited for those for whom it made room."""

    def should_stop(self) -> bool:
        """Whether it has ended before its turn came."""

    def on_wait(self, before: int, at_first: int) -> None:
        """Observes how many requests come before it, now and when it began to wait."""


class Remaining(Protocol):
    """What a request that has its turn still has to do before its first token."""

    def left_s(self) -> float:
        """Estimated time until its first token; 0 where nothing is known."""

    def next_s(self) -> float:
        """Estimated time until it can be paused again."""


class EndedWaitingError(Exception):
    """The request was ended before its turn came."""


class TurnQueue:
    """One turn at a time.

    Args:
        slice_s: How long a request may have its turn while a short one waits, where it can be paused by then.
    """

    def __init__(self, slice_s: float) -> None:
        self._slice_s = slice_s
        self._changed = threading.Condition()
        self._holder: Claim | None = None
        self._since_s = 0.0
        self._line: list[Claim] = []
        self._guest: Claim | None = None  # for whom the holder makes room

    @property
    def holder(self) -> Claim | None:
        """Whose turn it is."""
        return self._holder

    def enter(self, claim: Claim, *, is_first: bool = False) -> None:
        """Give a request its place, in which `take` then waits.

        Args:
            claim: The request.
            is_first: It made room, and goes on before those that wait.
        """
        with self._changed:
            self._line.insert(0 if is_first else len(self._line), claim)

    def leave(self, claim: Claim) -> None:
        """Give up the place of a request, if it has one."""
        with self._changed:
            if claim in self._line:
                self._line.remove(claim)
                self._changed.notify_all()

    def take(self, claim: Claim) -> None:
        """Wait for the turn of a request that has entered, in this thread.

        Raises:
            EndedWaitingError: `claim.should_stop` returned True meanwhile.
        """
        try:
            self._wait(claim)
        finally:
            self.leave(claim)

    def is_wanted(self, claim: Claim) -> bool:
        """Whether another request than this has its turn or waits for one."""
        with self._changed:
            return self._holder not in (None, claim) or any(one is not claim for one in self._line)

    def give_back(self, claim: Claim) -> None:
        """End a turn."""
        with self._changed:
            if self._holder is claim:
                self._holder = None
                self._changed.notify_all()

    def should_pause(self, claim: Claim, remaining: Remaining) -> bool:
        """Whether the holder should make room now; if so, the next turn is that of a short request.

        Args:
            claim: The holder, before its first token, at a point where it can be paused.
            remaining: Its work.
        """
        is_due = time.monotonic() - self._since_s + remaining.next_s() >= self._slice_s
        # As often as that may be: a number of pauses would be used up long before the end on a slow machine.
        if not self._line or not is_due or claim.delayed_s > claim.held_s:
            return False
        most_s = (claim.held_s + remaining.left_s()) * _SHORT
        with self._changed:
            self._guest = next((one for one in self._line if one.estimate_s < most_s), None)
            return self._guest is not None

    def _wait(self, claim: Claim) -> None:
        at_first: int | None = None
        while True:
            with self._changed:
                if self._is_next(claim):
                    self._holder, self._since_s, self._guest = claim, time.monotonic(), None
                    return
                before = self._line.index(claim) + (self._holder is not None)
                self._changed.wait(_POLL_S)
            at_first = before if at_first is None else at_first
            claim.on_wait(before, max(before, at_first))
            if claim.should_stop():
                raise EndedWaitingError

    def _is_next(self, claim: Claim) -> bool:
        if self._holder is not None:
            return False
        return claim is (self._guest if self._guest in self._line else self._line[0])
