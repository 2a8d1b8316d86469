"""What a generation returns: the reply, its timing, and the events on the way.

Owns these records and the parsing of tool calls. Knows nothing about how they were made.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

from edgephi.bundle.manifest import Adapter

FinishReason = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Wall-clock facts of one generation. Rates are derived, never stored.

    Attributes:
        prompt_tokens: Positions before the first new token, media rows included.
        cached_tokens: Of these, positions that an earlier request had read.
        new_tokens: Tokens generated, the closing one included.
        preprocess_s: Reading media, mel and crops, template and tokenizer.
        encode_s: Audio and image towers, loading them on first use included.
        prefill_s: The decoder's reading of the prompt.
        ttft_s: Request accepted -> first token id known: the three above and what lies between.
        decode_s: Making every token after the first; what the caller does between two events is not in it.
        peak_rss_bytes: Most memory the process has held so far; 0 where the system does not tell.
    """

    prompt_tokens: int
    cached_tokens: int
    new_tokens: int
    preprocess_s: float
    encode_s: float
    prefill_s: float
    ttft_s: float
    decode_s: float
    peak_rss_bytes: int

    @property
    def decode_tok_s(self) -> float:
        """Tokens per second after the first; 0.0 when only one token was made."""
        return (self.new_tokens - 1) / self.decode_s if self.new_tokens > 1 and self.decode_s > 0 else 0.0

    @property
    def prefill_tok_s(self) -> float:
        """Prompt positions read per second; what was cached is not read."""
        return (self.prompt_tokens - self.cached_tokens) / self.prefill_s if self.prefill_s > 0 else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A function the model asks for.

    Attributes:
        name: Of the function; empty when `error` is set.
        arguments: By name; empty when `error` is set.
        error: Why the model's text is not a call; None when it is one.
        text: The JSON as the model wrote it.
    """

    name: str
    arguments: dict[str, Any]
    error: str | None
    text: str


@dataclass(frozen=True, slots=True)
class Choice:
    """A chosen token, and how likely the model found it before any sampling option or constraint.

    Attributes:
        token_id: The token.
        logprob: Natural logarithm of its probability; None when log-probabilities were not asked for.
        top: The likeliest tokens and theirs, likeliest first, as many as were asked for.
    """

    token_id: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Speculation:
    """How guessing went: tokens guessed and checked together instead of one by one.

    Attributes:
        passes: Passes that checked guesses.
        proposed: Guesses checked.
        accepted: Guesses that were right, so each saved a pass.
    """

    passes: int = 0
    proposed: int = 0
    accepted: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A finished generation.

    Attributes:
        text: Without control tokens; a tool call's JSON is in it, its markers are not: the texts of all TextEvents and
            ToolCallEvents in their order. Ends before a stop string.
        token_ids: Every generated id, the closing one and those of a stop string included.
        finish_reason: `stop`: the model ended, a stop string came, or the constraint is met; `length`: cut by
            max_new_tokens or the context, so a constraint may be unmet; `cancelled`.
        tool_calls: The functions asked for, in order.
        timing: Wall-clock facts.
        logprobs: One for each of `token_ids` when asked for, else empty.
        speculation: How guessing went.
        adapter: That of the request: `none`, `vision` or `speech`.
    """

    text: str
    token_ids: tuple[int, ...]
    finish_reason: FinishReason
    tool_calls: tuple[ToolCall, ...]
    timing: Timing
    logprobs: tuple[Choice, ...] = ()
    speculation: Speculation = Speculation()
    adapter: Adapter = "none"


@dataclass(frozen=True, slots=True)
class TokenEvent:
    """A token was generated.

    Attributes:
        choice: The token, with log-probabilities when they were asked for.
        index: Counts from 0.
    """

    choice: Choice
    index: int

    @property
    def token_id(self) -> int:
        """The token."""
        return self.choice.token_id


@dataclass(frozen=True, slots=True)
class TextEvent:
    """More of the reply's words is complete; a tool call is not in them."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCallEvent:
    """Calls are complete: those between one pair of markers, in order. Their text is in no TextEvent.

    Attributes:
        text: The JSON as the model wrote it.
        calls: One or more; what the model wrote that is no call is one with `error` set.
    """

    text: str
    calls: tuple[ToolCall, ...]


@dataclass(frozen=True, slots=True)
class DoneEvent:
    """The last event."""

    reply: Reply


Event = TokenEvent | TextEvent | ToolCallEvent | DoneEvent


def parse_tool_calls(text: str) -> tuple[ToolCall, ...]:
    """Read the JSON between a tool call's markers: an object or a list of {name, arguments}.

    A malformed one becomes a call with `error` set: what the model wrote is a result, not an exception.
    """
    try:
        raw = json.loads(text, parse_constant=_refuse_number, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        return (_malformed(f"not valid JSON ({error})", text),)
    if raw == []:
        return (_malformed("an empty list", text),)
    entries = raw if isinstance(raw, list) else [raw]
    return tuple(_tool_call(entry, text) for entry in entries)


def _tool_call(raw: object, text: str) -> ToolCall:
    arguments = raw.get("arguments", raw.get("parameters", {})) if isinstance(raw, dict) else None
    name = raw.get("name") if isinstance(raw, dict) else None
    if not isinstance(name, str) or not name or not isinstance(arguments, dict):
        return _malformed("not an object with a name and arguments", text)
    return ToolCall(name=name, arguments=arguments, error=None, text=text)


def _malformed(error: str, text: str) -> ToolCall:
    return ToolCall(name="", arguments={}, error=error, text=text)


def _finite(number: str) -> float:
    """JSON has no infinity, and none may come in as a number too large to hold."""
    value = float(number)
    return value if math.isfinite(value) else _refuse_number(number)


def _refuse_number(number: str) -> NoReturn:
    raise ValueError(f"{number} is no number that JSON or a double can hold")
