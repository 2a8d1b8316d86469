"""The times of a reply that was made in several turns."""

from __future__ import annotations

import time
from dataclasses import replace

from edgephi import Reply
from edgephi.generation.timing import Timing


class ReplyTurns:
    """Adds up the turns of one reply: every turn but the last was paused before the first token."""

    def __init__(self) -> None:
        self._earlier: Timing | None = None
        self._first_s = self._turn_s = 0.0

    def begin(self) -> None:
        """A turn begins."""
        self._turn_s = time.perf_counter()
        self._first_s = self._first_s or self._turn_s

    def whole(self, reply: Reply) -> Reply:
        """The reply of a turn, with the times of the turns before it.

        `load_s`, `encode_s` and `prefill_s` are sums. `ttft_s` begins with the first turn, so that it holds the pauses.
        `cached_tokens` are those of the first turn, without what the reply itself has read. `preprocess_s` is not added
        up: the request was read before its turns.
        """
        timing, earlier = reply.timing, self._earlier
        if earlier is not None:
            timing = replace(
                timing,
                cached_tokens=earlier.cached_tokens,
                load_s=earlier.load_s + timing.load_s,
                encode_s=earlier.encode_s + timing.encode_s,
                prefill_s=earlier.prefill_s + timing.prefill_s,
                ttft_s=timing.ttft_s + self._turn_s - self._first_s if timing.new_tokens else 0.0,
            )
        self._earlier = timing
        return replace(reply, timing=timing)
