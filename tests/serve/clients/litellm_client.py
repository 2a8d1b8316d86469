"""litellm against a server: prints the texts and errors that it got as JSON. Arguments: URL, folder of samples."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path

import litellm

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "lock",
            "parameters": {"type": "object", "properties": {"device": {"type": "string"}}, "required": ["device"]},
        },
    }
]
#: Nano repeats it.
SAID = "turn on the light in the kitchen"
url, samples = sys.argv[1], Path(sys.argv[2])
server = {"model": "openai/nano", "api_base": f"{url}/v1", "api_key": "none", "temperature": 0, "num_retries": 0}
hello = {**server, "messages": [{"role": "user", "content": SAID}], "max_tokens": 24}
command = {**hello, "messages": [{"role": "user", "content": "lock the door"}], "tools": TOOLS}
image = f"data:image/png;base64,{base64.b64encode((samples / 'number.png').read_bytes()).decode()}"
parts = [{"type": "text", "text": "What number is shown?"}, {"type": "image_url", "image_url": {"url": image}}]


def streamed(asked: dict) -> object:
    """The answer that litellm builds of a stream."""
    chunks = list(litellm.completion(**asked, stream=True, stream_options={"include_usage": True}))
    return litellm.stream_chunk_builder(chunks).choices[0]


def calls(choice: object) -> list:
    return [[call.function.name, json.loads(call.function.arguments)] for call in choice.message.tool_calls]


def refused() -> list:
    try:
        litellm.completion(**{**hello, "temperature": 3})
    except litellm.BadRequestError as error:
        return [type(error).__name__, error.status_code, "temperature" in str(error)]
    return []


plain = litellm.completion(**hello).choices[0]
stream = streamed(hello)
with (samples / "command.wav").open("rb") as recording:
    transcript = litellm.transcription(**{**server, "model": "openai/whisper-1"}, file=recording)
print(
    json.dumps(
        {
            "plain": [plain.message.content, plain.finish_reason],
            "streamed": [stream.message.content, stream.finish_reason],
            "called": calls(litellm.completion(**command, tool_choice="required").choices[0]),
            "called_in_stream": calls(streamed({**command, "tool_choice": "required"})),
            "image": litellm.completion(**{**hello, "messages": [{"role": "user", "content": parts}]})
            .choices[0]
            .message.content,
            "refused": refused(),
            "transcript": transcript.text,
        }
    )
)
