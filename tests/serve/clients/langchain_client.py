"""langchain-openai against a server: prints the texts and errors that it got as JSON. Arguments: URL, samples."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Literal

import openai
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel

#: Nano repeats it.
SAID = "turn on the light in the kitchen"
url, samples = sys.argv[1], Path(sys.argv[2])


class Kind(BaseModel):
    """A kind of thing."""

    kind: Literal["a", "b"]


@tool
def lock(device: str) -> str:
    """Lock a device."""
    return f"{device} is locked"


def model(**more: object) -> ChatOpenAI:
    options = {"model": "nano", "temperature": 0, "max_tokens": 24, "max_retries": 0, **more}
    return ChatOpenAI(base_url=f"{url}/v1", api_key="none", **options)


def refused() -> list:
    try:
        model(temperature=3).invoke(SAID)
    except openai.BadRequestError as error:
        return [error.status_code, error.param]
    return []


def whole(pieces: list) -> AIMessage:
    """The message that the pieces of a stream add up to."""
    made = pieces[0]
    for piece in pieces[1:]:
        made += piece
    return made


image = f"data:image/png;base64,{base64.b64encode((samples / 'number.png').read_bytes()).decode()}"
parts = [{"type": "text", "text": "What number is shown?"}, {"type": "image_url", "image_url": {"url": image}}]
caller = model().bind_tools([lock], tool_choice="required")
asked = HumanMessage("lock the door")
called = caller.invoke([asked])
results = [ToolMessage(lock.invoke(call["args"]), tool_call_id=call["id"]) for call in called.tool_calls]
stream = whole(list(model(stream_usage=True).stream([HumanMessage(SAID)])))
plain = model().invoke([HumanMessage(SAID)])
print(
    json.dumps(
        {
            "plain": [plain.content, plain.response_metadata["finish_reason"], plain.usage_metadata["output_tokens"]],
            "streamed": [
                stream.content,
                stream.response_metadata["finish_reason"],
                stream.usage_metadata["output_tokens"],
            ],
            "called": [[call["name"], call["args"]] for call in called.tool_calls],
            "called_in_stream": [
                [call["name"], call["args"]] for call in whole(list(caller.stream([asked]))).tool_calls
            ],
            "after_call": model()
            .bind_tools([lock])
            .invoke([asked, called, *results])
            .response_metadata["finish_reason"],
            "structured": model().with_structured_output(Kind).invoke("a kind").kind,
            "image": model().invoke([HumanMessage(parts)]).content,
            "refused": refused(),
            "responses": model(use_responses_api=True, max_tokens=None).invoke(SAID).text,
        }
    )
)
