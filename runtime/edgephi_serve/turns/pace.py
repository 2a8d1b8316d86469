"""How long requests take on this machine, as far as those before them show."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgephi import Timing

_WEIGHT = 0.2
#: Fewer letters than a token has in most languages, so that a prompt is rather taken for longer than it is.
_LETTERS_PER_TOKEN = 2.5
#: A reply may well be longer than the mean of those before it.
_REPLY_MARGIN = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """The size of a request before it begins.

    Attributes:
        letters: Of its text.
        media: Images and recordings.
        max_new_tokens: Of all its replies.
    """

    letters: int
    media: int
    max_new_tokens: int


class _Mean:
    """A moving average; None before the first value."""

    def __init__(self) -> None:
        self.value: float | None = None

    def note(self, value: float) -> None:
        self.value = value if self.value is None else (1 - _WEIGHT) * self.value + _WEIGHT * value


class Pace:
    """Moving averages of what requests took."""

    def __init__(self) -> None:
        self._turn_s = _Mean()
        self._prefill_s, self._decode_s, self._new_tokens = _Mean(), _Mean(), _Mean()

    def note_turn(self, seconds: float) -> None:
        """A request held its turn so long."""
        self._turn_s.note(seconds)

    def note_prefill(self, seconds: float, positions: int) -> None:
        """So many positions, none of them cached, were read in so long."""
        if positions > 0 and seconds > 0:
            self._prefill_s.note(seconds / positions)

    def note_reply(self, timing: Timing) -> None:
        """A reply's stages."""
        self.note_prefill(timing.prefill_s, timing.prompt_tokens - timing.cached_tokens)
        if timing.new_tokens > 1 and timing.decode_s > 0:
            self._decode_s.note(timing.decode_s / timing.new_tokens)
            self._new_tokens.note(timing.new_tokens)

    def prefill_s(self, tokens: int) -> float | None:
        """Estimated time to read a prompt of so many tokens, none of them cached; None where nothing is known."""
        return None if self._prefill_s.value is None else tokens * self._prefill_s.value

    def wait_s(self, before: int) -> float:
        """Estimated wait behind so many requests."""
        return before * (1.0 if self._turn_s.value is None else self._turn_s.value)

    def estimate_s(self, size: Size) -> float:
        """How long a request will take, rather too long than too short; infinite where nothing is known."""
        prefill_s, decode_s, usual = self._prefill_s.value, self._decode_s.value, self._new_tokens.value
        if size.media or prefill_s is None or decode_s is None or usual is None:
            return math.inf
        new_tokens = min(size.max_new_tokens, usual * _REPLY_MARGIN)
        return size.letters / _LETTERS_PER_TOKEN * prefill_s + new_tokens * decode_s
