"""The answers of chat.completions, whole and in chunks."""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

FinishReason = Literal["stop", "length", "tool_calls"]


class Function(msgspec.Struct, kw_only=True):
    """A function and its arguments, as JSON text."""

    name: str
    arguments: str


class Call(msgspec.Struct, kw_only=True):
    """A function that the model asks for."""

    id: str
    type: Literal["function"] = "function"
    function: Function


class CallDelta(Call, kw_only=True):
    """The same in a stream, whole."""

    index: int


class TopLogprob(msgspec.Struct, kw_only=True):
    """A token that might have come."""

    token: str
    logprob: float
    bytes: list[int]


class TokenLogprob(TopLogprob, kw_only=True):
    """A token of the reply, and what might have come instead."""

    top_logprobs: list[TopLogprob]


class Logprobs(msgspec.Struct, kw_only=True):
    """Of the reply's tokens."""

    content: list[TokenLogprob]
    refusal: None = None


class PromptDetails(msgspec.Struct, kw_only=True):
    """The prompt's tokens by their kind, and how many of all were found in the cache."""

    text_tokens: int
    image_tokens: int
    audio_tokens: int
    cached_tokens: int


class CompletionDetails(msgspec.Struct, kw_only=True):
    """How the draft tokens of `prediction` went."""

    accepted_prediction_tokens: int
    rejected_prediction_tokens: int


class Usage(msgspec.Struct, kw_only=True):
    """Tokens of a request."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails
    completion_tokens_details: CompletionDetails


class TimingBody(msgspec.Struct, kw_only=True):
    """Seconds of each stage, measured."""

    queue_s: float
    preprocess_s: float
    encode_s: float
    prefill_s: float
    ttft_s: float
    decode_s: float


class RequestFigures(msgspec.Struct, kw_only=True):
    """Measurements beyond OpenAI's interface."""

    timing: TimingBody
    adapter: str
    pauses: int


class AnswerMessage(msgspec.Struct, kw_only=True):
    """The reply."""

    role: Literal["assistant"] = "assistant"
    content: str | None
    refusal: None = None
    tool_calls: list[Call] | UnsetType = UNSET


class AnswerChoice(msgspec.Struct, kw_only=True):
    """One of `n` replies."""

    index: int
    message: AnswerMessage
    logprobs: Logprobs | None
    finish_reason: FinishReason


class ChatAnswer(msgspec.Struct, kw_only=True):
    """A whole answer."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    system_fingerprint: str
    choices: list[AnswerChoice]
    usage: Usage
    edgephi: RequestFigures


class Delta(msgspec.Struct, kw_only=True):
    """The addition of a chunk."""

    role: Literal["assistant"] | UnsetType = UNSET
    content: str | UnsetType = UNSET
    tool_calls: list[CallDelta] | UnsetType = UNSET


class ChunkChoice(msgspec.Struct, kw_only=True):
    """More of one of `n` replies."""

    index: int
    delta: Delta
    logprobs: Logprobs | None = None
    finish_reason: FinishReason | None


class Chunk(msgspec.Struct, kw_only=True):
    """A part of a stream."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    system_fingerprint: str
    choices: list[ChunkChoice]
    usage: Usage | UnsetType | None = UNSET
    edgephi: RequestFigures | UnsetType = UNSET
