"""The answers of `/v1/responses`: the response as an object, and the events of a stream."""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from edgephi_serve.wire.answers import PromptDetails, RequestFigures, TokenLogprob
from edgephi_serve.wire.responses import FunctionChoice, FunctionTool, TextConfig

Status = Literal["in_progress", "completed", "incomplete", "failed"]
ItemStatus = Literal["in_progress", "completed", "incomplete"]


class TextPart(msgspec.Struct, tag="output_text", kw_only=True):
    """Text of a message."""

    text: str
    annotations: list[str] = []
    logprobs: list[TokenLogprob] = []


class MessageItem(msgspec.Struct, tag="message", kw_only=True):
    """A message of the model."""

    id: str
    status: ItemStatus
    role: Literal["assistant"] = "assistant"
    content: list[TextPart]


class CallItem(msgspec.Struct, tag="function_call", kw_only=True):
    """A function that the model asks for; its arguments are JSON text."""

    id: str
    call_id: str
    name: str
    arguments: str
    status: ItemStatus


OutputItem = MessageItem | CallItem


class InputDetails(PromptDetails, kw_only=True):
    """Nothing is charged for writing to the cache."""

    cache_write_tokens: Literal[0] = 0


class OutputDetails(msgspec.Struct, kw_only=True):
    """This model writes no thoughts."""

    reasoning_tokens: Literal[0] = 0


class ResponseUsage(msgspec.Struct, kw_only=True):
    """Tokens of a request."""

    input_tokens: int
    input_tokens_details: InputDetails
    output_tokens: int
    output_tokens_details: OutputDetails
    total_tokens: int


class Incomplete(msgspec.Struct, kw_only=True):
    """The reason why a reply was cut."""

    reason: Literal["max_output_tokens"] = "max_output_tokens"


class ResponseFailure(msgspec.Struct, kw_only=True):
    """A failure after the stream had begun."""

    code: str
    message: str


class ResponseAnswer(msgspec.Struct, kw_only=True):
    """A response, whole or as far as it is made."""

    id: str
    object: Literal["response"] = "response"
    created_at: int
    status: Status
    error: ResponseFailure | None = None
    incomplete_details: Incomplete | None = None
    instructions: str | None
    max_output_tokens: int | None
    metadata: dict[str, str]
    model: str
    output: list[OutputItem]
    parallel_tool_calls: bool
    previous_response_id: None = None
    store: Literal[False] = False
    temperature: float | None
    text: TextConfig
    tool_choice: Literal["auto", "none", "required"] | FunctionChoice
    tools: list[FunctionTool]
    top_p: float | None
    truncation: Literal["disabled"] = "disabled"
    usage: ResponseUsage | None = None
    edgephi: RequestFigures | UnsetType = UNSET


class ResponseEvent(msgspec.Struct, kw_only=True):
    """An event of a stream, counted from 0."""

    sequence_number: int


class ResponseCreated(ResponseEvent, tag="response.created", kw_only=True):
    """The first event."""

    response: ResponseAnswer


class ResponseInProgress(ResponseEvent, tag="response.in_progress", kw_only=True):
    """The second event."""

    response: ResponseAnswer


class ResponseCompleted(ResponseEvent, tag="response.completed", kw_only=True):
    """The last event of a whole reply."""

    response: ResponseAnswer


class ResponseIncomplete(ResponseEvent, tag="response.incomplete", kw_only=True):
    """The last event of a reply that was cut."""

    response: ResponseAnswer


class ResponseFailed(ResponseEvent, tag="response.failed", kw_only=True):
    """The last event of a reply that failed."""

    response: ResponseAnswer


class ItemEvent(ResponseEvent, kw_only=True):
    """An event of an item."""

    output_index: int


class OutputItemAdded(ItemEvent, tag="response.output_item.added", kw_only=True):
    """An item begins."""

    item: OutputItem


class OutputItemDone(ItemEvent, tag="response.output_item.done", kw_only=True):
    """An item is complete."""

    item: OutputItem


class PartEvent(ItemEvent, kw_only=True):
    """An event of a message's text."""

    item_id: str
    content_index: Literal[0] = 0


class ContentPartAdded(PartEvent, tag="response.content_part.added", kw_only=True):
    """A text begins."""

    part: TextPart


class OutputTextDelta(PartEvent, tag="response.output_text.delta", kw_only=True):
    """More text."""

    delta: str
    logprobs: list[TokenLogprob]


class OutputTextDone(PartEvent, tag="response.output_text.done", kw_only=True):
    """The whole text."""

    text: str
    logprobs: list[TokenLogprob]


class ContentPartDone(PartEvent, tag="response.content_part.done", kw_only=True):
    """A text is complete."""

    part: TextPart


class CallArgumentsDelta(ItemEvent, tag="response.function_call_arguments.delta", kw_only=True):
    """The arguments of a call, which come whole."""

    item_id: str
    delta: str


class CallArgumentsDone(ItemEvent, tag="response.function_call_arguments.done", kw_only=True):
    """The arguments of a call are complete."""

    item_id: str
    name: str
    arguments: str


AnyResponseEvent = (
    ResponseCreated | ResponseInProgress | OutputItemAdded | ContentPartAdded | OutputTextDelta | OutputTextDone
    | ContentPartDone | OutputItemDone | CallArgumentsDelta | CallArgumentsDone | ResponseCompleted
    | ResponseIncomplete | ResponseFailed
)  # fmt: skip
