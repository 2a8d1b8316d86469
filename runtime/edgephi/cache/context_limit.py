"""`ContextLimit`: how long a sequence may become, and which rotary factors its length takes."""

from __future__ import annotations

from dataclasses import dataclass

from edgephi.bundle.manifest import RopeInfo
from edgephi.cache.kv_cache import CacheShape, check_context


@dataclass(frozen=True, slots=True)
class ContextLimit:
    """The rules of length of one loaded model; they need no session.

    Attributes:
        shape: Of the cache, with the context it may grow to.
        rope: The model's rotary positions, with LongRoPE's boundary.
    """

    shape: CacheShape
    rope: RopeInfo

    def check(self, total: int, *, is_least: bool = False) -> None:
        """Refuse a sequence that is longer than the context, before any work.

        Args:
            total: Its length.
            is_least: It may turn out longer.

        Raises:
            CapacityError: It is longer than the context.
        """
        check_context(total, self.shape, is_least=is_least)

    def has_room(self, total: int) -> bool:
        """Whether a sequence of this many positions can be computed."""
        return total <= self.shape.max_positions

    def is_long(self, total: int) -> bool:
        """Whether a sequence of this many positions takes LongRoPE's long factors."""
        return self.rope.is_long(total)

    def reach(self, total: int) -> int:
        """The most positions a sequence of `total` can grow to without a change of rotary factors.

        Speculation keeps within it: draft tokens beyond the boundary would change the logits of the accepted ones.
        """
        same = self.rope.max_positions if self.is_long(total) else self.rope.original_max_positions
        return min(self.shape.max_positions, same)
