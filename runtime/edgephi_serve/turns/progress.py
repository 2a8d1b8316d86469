"""How far one request is before its first token, over all its turns: whether it may be paused, what is left."""

from __future__ import annotations

import time

from edgephi import Stage
from edgephi.base.stage import StageName
from edgephi_serve.turns.pace import Pace

#: Stages that go on where they were after a pause, in their order.
_RESUMED: tuple[StageName, ...] = ("encode", "prefill")


class Progress:
    """Notes the stages of one request.

    Args:
        pace: Of earlier requests; says what the prefill takes before it has begun.

    Attributes:
        positions: Of the prompt; 0 where that is not known yet.
        is_kept: Whether every turn went on where the one before it was paused. Once the caches have lost some of it,
            the next pause would cost the same work again.
    """

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self.positions = 0
        self.is_kept = True
        self._stage: Stage | None = None  # the last noted
        self._first: Stage | None = None  # of this turn and stage
        self._first_s = 0.0
        self._unit_s: dict[StageName, float] = {}
        self._pass_positions = 0  # of the longest so far
        self._num_steps = 0  # noted in this turn, its beginning included
        self._has_tokens = False

    def note(self, stage: Stage) -> bool:
        """Take notice of a stage; whether the request can be paused now."""
        # A reply that outgrows the short rotary factors is read again: a prefill, but its tokens were sent.
        self._has_tokens = self._has_tokens or stage.name == "decode"
        if self._has_tokens or stage.name not in _RESUMED or stage.done >= stage.total:
            return False
        now = time.monotonic()
        if self._first is None and self._stage is not None:
            self.is_kept = self.is_kept and _left(stage) <= _left(self._stage)
        if self._first is None or self._first.name != stage.name:
            self._first, self._first_s = stage, now
        elif stage.done > self._first.done:
            self._unit_s[stage.name] = (now - self._first_s) / (stage.done - self._first.done)
        if self._stage is not None and stage.name == self._stage.name == "prefill":
            self._pass_positions = max(self._pass_positions, stage.done - self._stage.done)
        self._stage = stage
        self._num_steps += 1
        return self.is_kept

    def end_turn(self) -> None:
        """The turn was paused, and the next one begins where it was."""
        self._first = None
        self._num_steps = 0

    def left_s(self) -> float:
        """How long it will take until the first token, rather too short than too long; 0 where nothing is known."""
        stage = self._stage
        if stage is None:
            return 0.0
        left = stage.total - stage.done
        if stage.name == "prefill":
            return self._prefill_s(left)
        return self._unit_s.get("encode", 0.0) * left + self._prefill_s(self.positions)

    def next_s(self) -> float:
        """How long it will take until it can be paused again: a crop, a window or a pass; 0 where nothing is known.

        Before its first pass, all that is left may be one. 0 too where this turn has not done anything: each gets on.
        """
        stage = self._stage
        if stage is None or self._num_steps < 2:
            return 0.0
        if stage.name == "encode":
            return self._unit_s.get("encode", 0.0)
        left = stage.total - stage.done
        return self._prefill_s(min(left, self._pass_positions or left))

    def _prefill_s(self, positions: int) -> float:
        unit_s = self._unit_s.get("prefill")
        return (self._pace.prefill_s(positions) or 0.0) if unit_s is None else unit_s * positions


def _left(stage: Stage) -> tuple[int, int]:
    """Orders stages by what is left after them."""
    return -_RESUMED.index(stage.name), stage.total - stage.done
