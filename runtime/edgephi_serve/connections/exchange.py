"""One HTTP request and what is noted about it: never a word of its text."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_KEY = "edgephi.exchange"


@dataclass(slots=True, kw_only=True)
class Exchange:
    """A request on its way.

    Attributes:
        id: Of the request.
        key: Name of the key that asked.
        endpoint: Its route; never the path as it came.
        ignored: Fields that had no effect.
        status: Of the answer; 0 before it begins, 499 for a client that left.
        received: Bytes of the body.
        facts: Counts and seconds for the log.
        reason: Why it failed, a word.
    """

    id: str
    key: str = "-"
    endpoint: str = "-"
    ignored: list[str] = field(default_factory=list)
    status: int = 0
    received: int = 0
    facts: dict[str, float] = field(default_factory=dict)
    reason: str = ""
    began_s: float = field(default_factory=time.monotonic)

    @property
    def age_s(self) -> float:
        """Seconds since it came."""
        return time.monotonic() - self.began_s

    def put(self, scope: Scope) -> None:
        """Make it known to the endpoints."""
        scope[_KEY] = self

    @staticmethod
    def of(scope: Scope) -> Exchange:
        """That of a request."""
        exchange: Exchange = scope[_KEY]
        return exchange
