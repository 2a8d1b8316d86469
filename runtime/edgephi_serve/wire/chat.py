"""The request of chat.completions, as far as it is read. Unknown keys are passed over here and named elsewhere."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

JsonObject = dict[str, Any]
AdapterName = Literal["auto", "none", "vision", "speech"]


class TextPart(msgspec.Struct, tag="text"):
    """Words."""

    text: str


class RefusalPart(msgspec.Struct, tag="refusal"):
    """Words of an assistant that would not answer."""

    refusal: str


class ImageUrl(msgspec.Struct):
    """An image, and how closely to look at it."""

    url: str
    detail: str | None = None


class ImagePart(msgspec.Struct, tag="image_url"):
    """An image as a `data:` URL."""

    image_url: ImageUrl | str


class AudioUrl(msgspec.Struct):
    """A recording."""

    url: str


class AudioUrlPart(msgspec.Struct, tag="audio_url"):
    """A recording as a `data:` URL."""

    audio_url: AudioUrl | str


class InputAudio(msgspec.Struct):
    """A recording as base64."""

    data: str
    format: str | None = None


class InputAudioPart(msgspec.Struct, tag="input_audio"):
    """A recording in OpenAI's form."""

    input_audio: InputAudio


UserPart = TextPart | ImagePart | AudioUrlPart | InputAudioPart
AssistantPart = TextPart | RefusalPart


class CalledFunction(msgspec.Struct):
    """A call that the model made. Clients send its arguments as text, some as the object."""

    name: str
    arguments: str | JsonObject | None = None


class HistoryCall(msgspec.Struct):
    """A call in an assistant's message."""

    function: CalledFunction
    id: str | None = None
    type: Literal["function"] | None = None


class SystemMessage(msgspec.Struct, tag_field="role", tag="system"):
    """Instructions for the model."""

    content: str | list[TextPart]
    name: str | None = None


class DeveloperMessage(msgspec.Struct, tag_field="role", tag="developer"):
    """OpenAI's newer name of the system's message."""

    content: str | list[TextPart]
    name: str | None = None


class UserMessage(msgspec.Struct, tag_field="role", tag="user"):
    """The user's text, images and audio."""

    content: str | list[UserPart]
    name: str | None = None


class AssistantMessage(msgspec.Struct, tag_field="role", tag="assistant"):
    """A reply of the model."""

    content: str | list[AssistantPart] | None = None
    name: str | None = None
    refusal: str | None = None
    tool_calls: list[HistoryCall] | None = None
    function_call: CalledFunction | None = None


class ToolMessage(msgspec.Struct, tag_field="role", tag="tool"):
    """The result of a function."""

    content: str | list[TextPart]
    tool_call_id: str | None = None
    name: str | None = None


Message = SystemMessage | DeveloperMessage | UserMessage | AssistantMessage | ToolMessage


class FunctionSpec(msgspec.Struct):
    """A function that the model may call."""

    name: str
    description: str | None = None
    parameters: JsonObject | None = None
    strict: bool | None = None


class Tool(msgspec.Struct):
    """OpenAI's wrapping of a function."""

    type: str
    function: FunctionSpec | None = None


class FunctionName(msgspec.Struct):
    """Which function must be called."""

    name: str


class NamedChoice(msgspec.Struct):
    """A `tool_choice` that names a function."""

    type: Literal["function"]
    function: FunctionName


class SchemaFormat(msgspec.Struct):
    """A JSON schema with its name."""

    schema: JsonObject | None = None
    name: str | None = None
    description: str | None = None
    strict: bool | None = None


class ResponseFormat(msgspec.Struct):
    """The rule that the reply is held to."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: SchemaFormat | None = None


class StreamOptions(msgspec.Struct):
    """Additions to a stream."""

    include_usage: bool | None = None


class PredictionPart(msgspec.Struct):
    """A piece of a prediction."""

    text: str
    type: Literal["text"] = "text"


class Prediction(msgspec.Struct):
    """Text that much of the reply will repeat."""

    content: str | list[PredictionPart]
    type: Literal["content"] = "content"


class Extension(msgspec.Struct, forbid_unknown_fields=True):
    """Extensions of this server."""

    regex: str | None = None
    grammar: str | None = None
    max_crops: int | None = None
    adapter: AdapterName | None = None
    speculation: bool | None = None


class ChatRequest(msgspec.Struct, kw_only=True):
    """The body of a request. None is what a client leaves out or sends as null."""

    messages: list[Message]
    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    max_completion_tokens: int | None = None
    max_tokens: int | None = None
    n: int | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    response_format: ResponseFormat | None = None
    tools: list[Tool] | None = None
    tool_choice: Literal["auto", "none", "required"] | NamedChoice | None = None
    parallel_tool_calls: bool | None = None
    prediction: Prediction | None = None
    modalities: list[str] | None = None
    edgephi: Extension | None = None


#: Accepted without effect, as docs/serve.md lists.
WITHOUT_EFFECT = frozenset({
    "metadata", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "reasoning_effort",
    "safety_identifier", "service_tier", "store", "user", "verbosity",
})  # fmt: skip
#: A user would miss what these ask for, so they are refused.
UNSUPPORTED = {
    "audio": "this model writes text and does not speak",
    "web_search_options": "this server reaches no other machine",
    "functions": "give the functions as tools",
    "function_call": "give it as tool_choice",
}
