"""The input of `/v1/responses` as messages of a chat."""

from __future__ import annotations

from edgephi_serve.errors import invalid
from edgephi_serve.wire.chat import (
    AssistantMessage,
    AssistantPart,
    CalledFunction,
    HistoryCall,
    ImagePart,
    ImageUrl,
    InputAudioPart,
    Message,
    RefusalPart,
    SystemMessage,
    TextPart,
    ToolMessage,
    UserMessage,
    UserPart,
)
from edgephi_serve.wire.responses import (
    InputCall,
    InputCallOutput,
    InputImage,
    InputMessage,
    InputPart,
    InputReasoning,
    OutputText,
    ResponsesRequest,
)


def read_items(request: ResponsesRequest) -> tuple[list[Message], tuple[str, ...]]:
    """The messages of a request, and where in it each of them begins.

    Calls join the message of the assistant before them, as a chat has both in one.

    Raises:
        ApiError: A part that its role cannot have.
    """
    messages: list[Message] = []
    places: list[str] = []

    def add(message: Message, place: str) -> None:
        messages.append(message)
        places.append(place)

    if request.instructions is not None:
        add(SystemMessage(content=request.instructions), "instructions")
    if isinstance(request.input, str):
        add(UserMessage(content=request.input), "input")
        return messages, tuple(places)
    for i, item in enumerate(request.input):
        place = f"input[{i}]"
        match item:
            case InputMessage():
                add(_message(item, place), place)
            case InputCallOutput(output=output):
                text = output if isinstance(output, str) else "".join(part.text for part in output)
                add(ToolMessage(content=text, tool_call_id=item.call_id), place)
            case InputCall():
                if not messages or not isinstance(messages[-1], AssistantMessage):
                    add(AssistantMessage(), place)
                _add_call(messages[-1], item)
            case InputReasoning():
                pass
    return messages, tuple(places)


def _add_call(message: Message, call: InputCall) -> None:
    function = CalledFunction(name=call.name, arguments=call.arguments)
    if isinstance(message, AssistantMessage):
        message.tool_calls = [*(message.tool_calls or ()), HistoryCall(function=function, id=call.call_id)]


def _message(item: InputMessage, place: str) -> Message:
    content = item.content
    if item.role == "user":
        return UserMessage(content=content if isinstance(content, str) else _user_parts(content, place))
    if item.role == "assistant":
        return AssistantMessage(content=content if isinstance(content, str) else _own_parts(content, place))
    return SystemMessage(content=content if isinstance(content, str) else _texts(content, place, item.role))


def _user_parts(parts: list[InputPart], place: str) -> list[UserPart]:
    made: list[UserPart] = []
    for j, part in enumerate(parts):
        match part:
            case InputImage(image_url=url):
                where = f"{place}.content[{j}].image_url"
                if url is None:
                    raise invalid(f"{where}: the image is missing; send it as a data: URL.", param=where)
                made.append(ImagePart(image_url=ImageUrl(url=url, detail=part.detail)))
            case InputAudioPart():
                made.append(part)
            case RefusalPart():
                raise _misplaced(part, f"{place}.content[{j}]", "user")
            case _:
                made.append(TextPart(text=part.text))
    return made


def _own_parts(parts: list[InputPart], place: str) -> list[AssistantPart]:
    for j, part in enumerate(parts):
        if isinstance(part, InputImage | InputAudioPart):
            raise _misplaced(part, f"{place}.content[{j}]", "assistant")
    return [
        part if isinstance(part, RefusalPart) else TextPart(text=part.text)
        for part in parts
        if not isinstance(part, InputImage | InputAudioPart)
    ]


def _texts(parts: list[InputPart], place: str, role: str) -> list[TextPart]:
    texts = []
    for j, part in enumerate(parts):
        if isinstance(part, InputImage | InputAudioPart | RefusalPart | OutputText):
            raise _misplaced(part, f"{place}.content[{j}]", role)
        texts.append(TextPart(text=part.text))
    return texts


def _misplaced(part: InputPart, where: str, role: str) -> Exception:
    kind = str(type(part).__struct_config__.tag)
    return invalid(f"{where}: a message of the {role} holds no {kind}.", param=where)
