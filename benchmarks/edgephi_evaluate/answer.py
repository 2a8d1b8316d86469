"""`Answer`: an engine's reply to an item."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Seconds:
    """Wall-clock seconds of one answer, by stage; None where the engine does not report a stage."""

    total: float
    preprocess: float | None = None
    encode: float | None = None
    prefill: float | None = None
    decode: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A reply.

    Attributes:
        text: Without control tokens.
        marked_text: With the markers of tool calls and other control tokens, but without the end token.
        token_ids: Every generated id, the closing one included; empty where the engine does not report them.
        new_tokens: How many there are; None where it is not reported.
        finish_reason: `stop` or `length`.
        seconds: What it took.
        peak_rss_bytes: Most memory that the engine's process has held so far; None where it is not reported.
    """

    text: str
    marked_text: str
    token_ids: tuple[int, ...] = ()
    new_tokens: int | None = None
    finish_reason: str = "stop"
    seconds: Seconds
    peak_rss_bytes: int | None = None
