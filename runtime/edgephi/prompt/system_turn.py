"""The system turn of a chat: its text, and the tools it offers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def with_system(
    messages: Sequence[dict[str, Any]], system: str | None = None, tools: str | Sequence[dict[str, Any]] | None = None
) -> list[dict[str, Any]]:
    """The messages after a system turn; without a text and without tools there is none.

    Args:
        messages: Of the OpenAI chat shape, without a system turn.
        system: Text of the system turn.
        tools: Offered in it, as a list or as JSON text.
    """
    if system is None and tools is None:
        return [*messages]
    turn: dict[str, Any] = {"role": "system", "content": system or ""}
    if tools is not None:
        turn["tools"] = tools
    return [turn, *messages]
