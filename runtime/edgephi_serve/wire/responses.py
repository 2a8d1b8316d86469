"""The request of `/v1/responses`, as far as it is read. Unknown keys are passed over here and named elsewhere."""

from __future__ import annotations

from typing import Literal

import msgspec

from edgephi_serve.wire.chat import Extension, InputAudioPart, JsonObject, RefusalPart


class InputText(msgspec.Struct, tag="input_text"):
    """Text for the model."""

    text: str


class OutputText(msgspec.Struct, tag="output_text"):
    """Text that the model wrote before."""

    text: str


class InputImage(msgspec.Struct, tag="input_image"):
    """An image as a `data:` URL."""

    image_url: str | None = None
    detail: str | None = None


InputPart = InputText | OutputText | RefusalPart | InputImage | InputAudioPart


class InputMessage(msgspec.Struct, tag="message"):
    """A message of the conversation; its `type` may be left out."""

    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[InputPart]


class InputCall(msgspec.Struct, tag="function_call"):
    """A call that the model made before."""

    name: str
    call_id: str | None = None
    arguments: str | JsonObject | None = None


class InputCallOutput(msgspec.Struct, tag="function_call_output"):
    """The result of a call."""

    output: str | list[InputText]
    call_id: str | None = None


class InputReasoning(msgspec.Struct, tag="reasoning"):
    """Thoughts of another model, which this one does not take."""


InputItem = InputMessage | InputCall | InputCallOutput | InputReasoning


class FunctionTool(msgspec.Struct):
    """A function that the model may call."""

    type: str
    name: str | None = None
    description: str | None = None
    parameters: JsonObject | None = None
    strict: bool | None = None


class FunctionChoice(msgspec.Struct):
    """A `tool_choice` that names a function."""

    type: Literal["function"]
    name: str


class TextFormat(msgspec.Struct, omit_defaults=True):
    """The rule that the text is held to."""

    type: Literal["text", "json_object", "json_schema"]
    name: str | None = None
    description: str | None = None
    schema: JsonObject | None = None
    strict: bool | None = None


class TextConfig(msgspec.Struct, omit_defaults=True):
    """The form of the text."""

    format: TextFormat | None = None
    verbosity: str | None = None


class ResponsesRequest(msgspec.Struct, kw_only=True):
    """The body of a request. None is what a client leaves out or sends as null."""

    input: str | list[InputItem]
    model: str | None = None
    instructions: str | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_logprobs: int | None = None
    include: list[str] | None = None
    tools: list[FunctionTool] | None = None
    tool_choice: Literal["auto", "none", "required"] | FunctionChoice | None = None
    parallel_tool_calls: bool | None = None
    text: TextConfig | None = None
    metadata: dict[str, str] | None = None
    truncation: Literal["auto", "disabled"] | None = None
    stream: bool | None = None
    edgephi: Extension | None = None


#: Accepted without effect, as docs/serve.md lists.
NO_EFFECT = frozenset({
    "background", "max_tool_calls", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "reasoning",
    "safety_identifier", "service_tier", "store", "stream_options", "user",
})  # fmt: skip
#: They need what an earlier request left, so they are refused.
STATEFUL = {
    "previous_response_id": "this server keeps no responses; send the whole conversation as input",
    "conversation": "this server keeps no conversations; send the whole conversation as input",
    "prompt": "this server keeps no prompts; send the text as instructions",
}
LOGPROBS = "message.output_text.logprobs"
#: What can be asked for and never is in an answer of this model.
EMPTY_INCLUDES = frozenset({"reasoning.encrypted_content"})
