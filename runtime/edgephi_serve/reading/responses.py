"""A request of `/v1/responses` as the chat request that asks for the same."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from edgephi import ConfigError
from edgephi_serve.errors import ApiError, as_api_error, invalid
from edgephi_serve.reading.bodies import convert, parse_json, printable
from edgephi_serve.reading.chat import ChatWork, chat_work, without_effect
from edgephi_serve.reading.response_items import read_items
from edgephi_serve.settings import Settings
from edgephi_serve.wire.chat import (
    ChatRequest,
    FunctionName,
    FunctionSpec,
    NamedChoice,
    ResponseFormat,
    SchemaFormat,
    Tool,
)
from edgephi_serve.wire.responses import (
    EMPTY_INCLUDES,
    LOGPROBS,
    NO_EFFECT,
    STATEFUL,
    FunctionChoice,
    FunctionTool,
    InputReasoning,
    ResponsesRequest,
    TextConfig,
)

_MESSAGE = re.compile(r"\bmessages\[([0-9]{1,6})\]")
#: The chat's fields, as they are called here.
_NAMES = (
    (re.compile(r"\Amessages\b"), "input"),
    (re.compile(r"\Amax_completion_tokens\b"), "max_output_tokens"),
    (re.compile(r"\Aresponse_format(\.json_schema)?\b"), "text.format"),
    (re.compile(r"\A(tools\[[0-9]+\])\.function\b"), r"\1"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponsesWork:
    """A request to the model.

    Attributes:
        chat: The same as a chat request.
        request: As it came.
        places: Where each message of the chat stands in it.
    """

    chat: ChatWork
    request: ResponsesRequest
    places: tuple[str, ...]

    def renamed(self, error: ApiError) -> ApiError:
        """A refusal with the names of this request's fields."""
        return _renamed(error, self.places)


def read_responses(body: bytes, settings: Settings, model_names: tuple[str, ...]) -> ResponsesWork:
    """The work of a body.

    Raises:
        ApiError: It cannot be used; `param` names the field.
    """
    raw = parse_json(body)
    _refuse_unsupported(raw)
    request = convert(_with_types(raw), ResponsesRequest)
    messages, places = read_items(request)
    ignored = without_effect(request.model, _ignored(raw, request), settings, model_names)
    logprobs = LOGPROBS in (request.include or ()) or bool(request.top_logprobs)
    chat = ChatRequest(
        messages=messages,
        stream=request.stream,
        temperature=request.temperature,
        top_p=request.top_p,
        max_completion_tokens=request.max_output_tokens,
        logprobs=logprobs,
        top_logprobs=request.top_logprobs if logprobs else None,
        response_format=_response_format(request.text),
        tools=None if request.tools is None else [_tool(tool) for tool in request.tools],
        tool_choice=_tool_choice(request.tool_choice),
        parallel_tool_calls=request.parallel_tool_calls,
        edgephi=request.edgephi,
    )
    try:
        return ResponsesWork(chat=chat_work(chat, settings, ignored), request=request, places=places)
    except (ApiError, ConfigError) as error:
        raise _renamed(as_api_error(error), places) from None


def _refuse_unsupported(raw: Mapping[str, Any]) -> None:
    """Raise ApiError for what a user would miss if it had no effect."""
    for param, why in _unsupported(raw):
        raise invalid(f"{param} is not supported: {why}.", param=param, code="unsupported_parameter")


def _unsupported(raw: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield from ((key, why) for key, why in STATEFUL.items() if raw.get(key) is not None)
    if raw.get("background"):
        yield "background", "this server keeps no responses; use stream"
    for i, tool in enumerate(_dicts(raw.get("tools"))):
        if isinstance(tool.get("type"), str) and tool["type"] != "function":
            yield f"tools[{i}].type", "this server has no tools of its own; only functions can be called"
    choice = raw.get("tool_choice")
    if isinstance(choice, dict) and isinstance(choice.get("type"), str) and choice["type"] != "function":
        yield "tool_choice.type", "use auto, none, required, or a function"
    for i, item in enumerate(_dicts(raw.get("input"))):
        if item.get("type") == "item_reference":
            yield f"input[{i}]", "this server keeps no items; send the item itself"
        for j, part in enumerate(_dicts(item.get("content"))):
            if part.get("type") == "input_file":
                yield f"input[{i}].content[{j}]", "send the text, images or audio of the file"
            elif part.get("type") == "input_image" and part.get("file_id") is not None:
                yield f"input[{i}].content[{j}].file_id", "this server keeps no files; send the image as a data: URL"


def _dicts(value: object) -> list[dict[str, Any]]:
    """The entries of a list, others than objects as empty ones."""
    return [one if isinstance(one, dict) else {} for one in value] if isinstance(value, list) else []


def _with_types(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """The body with the `type` of messages that leave it out."""
    items = raw.get("input")
    if not isinstance(items, list):
        return raw
    typed = [
        {**item, "type": "message"} if isinstance(item, dict) and "role" in item and "type" not in item else item
        for item in items
    ]
    return {**raw, "input": typed}


def _ignored(raw: Mapping[str, Any], request: ResponsesRequest) -> list[str]:
    """Keys that have a value and no effect, as the answer names them."""
    known = NO_EFFECT.union(ResponsesRequest.__struct_fields__)
    found = {printable(key) for key, value in raw.items() if key not in known and value is not None}
    if request.truncation == "auto":
        found.add("truncation")
    found |= {f"include.{printable(one)}" for one in set(request.include or ()) - EMPTY_INCLUDES - {LOGPROBS}}
    if isinstance(request.input, list) and any(isinstance(item, InputReasoning) for item in request.input):
        found.add("input.reasoning")
    return sorted(found)


def _tool(tool: FunctionTool) -> Tool:
    function = None
    if tool.name:
        function = FunctionSpec(
            name=tool.name, description=tool.description, parameters=tool.parameters, strict=tool.strict
        )
    return Tool(type=tool.type, function=function)


def _tool_choice(choice: Any) -> Any:
    if isinstance(choice, FunctionChoice):
        return NamedChoice(type="function", function=FunctionName(name=choice.name))
    return choice


def _response_format(text: TextConfig | None) -> ResponseFormat | None:
    if text is None or text.format is None:
        return None
    held = text.format
    schema = SchemaFormat(schema=held.schema, name=held.name, description=held.description, strict=held.strict)
    return ResponseFormat(type=held.type, json_schema=schema if held.type == "json_schema" else None)


def _renamed(error: ApiError, places: tuple[str, ...]) -> ApiError:
    def place(found: re.Match[str]) -> str:
        number = int(found[1])
        return places[number] if number < len(places) else found[0]

    def named(text: str) -> str:
        text = _MESSAGE.sub(place, text)
        for pattern, name in _NAMES:
            text = pattern.sub(name, text)
        return text

    param = None if error.param is None else named(error.param)
    return ApiError(error.status, error.kind, error.code, named(error.message), param=param, headers=error.headers)
