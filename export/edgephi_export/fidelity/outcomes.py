"""The record of one example under one model: its reply, and how its answer was predicted."""

from __future__ import annotations

from dataclasses import dataclass

from edgephi_export.fidelity.divergence import Divergence


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyOutcome:
    """A greedy reply.

    Attributes:
        token_ids: Without the end token.
        text: With control tokens spelled out.
        is_ended: Whether the model ended it, and not the limit of tokens.
        new_tokens: The end token included.
        decode_s: Seconds from the first token to the last.
    """

    token_ids: tuple[int, ...]
    text: str
    is_ended: bool
    new_tokens: int
    decode_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceOutcome:
    """An example under the reference, whose logits are in a file beside this record.

    Attributes:
        reply: Its own reply.
        answer_ids: The tokens that every model is forced along: the example's answer, or else this reply.
        audio_s: Seconds of its audio.
    """

    reply: ReplyOutcome
    answer_ids: tuple[int, ...]
    audio_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOutcome:
    """An example under the model that is judged; `reply` is None where only the forced pass was run."""

    reply: ReplyOutcome | None
    forced: Divergence
