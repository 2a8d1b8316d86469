"""The result of a generation: the reply, and the events on the way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgephi.bundle.manifest import Adapter
from edgephi.generation.timing import Timing
from edgephi.generation.tool_calls import ToolCall

FinishReason = Literal["stop", "length", "cancelled"]


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
    """Draft tokens of a reply, from the text so far or from `SamplingOptions.prediction`, verified several in one pass.

    Attributes:
        passes: Forward passes that verified draft tokens.
        drafted: Draft tokens verified.
        accepted: Draft tokens that became part of the reply; each saved a pass.
        prediction_drafted: Draft tokens verified that were the prediction's.
        prediction_accepted: Of these, those that became part of the reply.
    """

    passes: int = 0
    drafted: int = 0
    accepted: int = 0
    prediction_drafted: int = 0
    prediction_accepted: int = 0


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
        speculation: How many draft tokens were verified and accepted.
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
