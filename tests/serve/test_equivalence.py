"""The server's answers are the library's: every sample of the demo, streamed and whole, through OpenAI's own client."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from edgephi import Model, Reply, SamplingOptions
from support.bundles import nano_bundle

NANO = Path(__file__).parents[2] / "nano/samples"
SAMPLES = json.loads((NANO / "samples.json").read_text())["samples"]
OPTIONS = {"greedy": {"temperature": 0}, "seeded": {"temperature": 0.9, "seed": 7}, "short": {"temperature": 0}}
MOST = {"greedy": 200, "seeded": 60, "short": 3}


@pytest.fixture(scope="module")
def nano() -> Iterator[Model]:
    with Model.load(nano_bundle(), threads=1) as model:
        yield model


@pytest.fixture(scope="module")
def sdk(server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def _tools(sample: dict[str, Any]) -> list[dict[str, Any]] | None:
    if "tools" not in sample:
        return None
    functions = []
    for one in json.loads(sample["tools"]):
        properties = {name: {"type": kind} for name, kind in one["parameters"].items()}
        schema = {"type": "object", "properties": properties, "required": list(properties)}
        functions.append({"type": "function", "function": {"name": one["name"], "parameters": schema}})
    return functions


def _messages(sample: dict[str, Any]) -> list[dict[str, Any]]:
    """As OpenAI's clients write them."""
    parts: list[dict[str, Any]] = []
    if "image" in sample:
        data = base64.b64encode((NANO / sample["image"]).read_bytes()).decode()
        parts.append({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}})
    if "audio" in sample:
        data = base64.b64encode((NANO / sample["audio"]).read_bytes()).decode()
        parts.append({"type": "input_audio", "input_audio": {"data": data, "format": "wav"}})
    system = [{"role": "system", "content": sample["system"]}] if "system" in sample else []
    content = [*parts, {"type": "text", "text": sample["prompt"]}] if parts else sample["prompt"]
    return [*system, {"role": "user", "content": content}]


def _library(nano: Model, sample: dict[str, Any], kind: str) -> Reply:
    """As a program that uses the library writes it."""
    system = [{"role": "system", "content": sample["system"]}] if "system" in sample else []
    media = {name: [NANO / sample[key]] for name, key in (("images", "image"), ("audio", "audio")) if key in sample}
    given = OPTIONS[kind]
    options = SamplingOptions(
        max_new_tokens=MOST[kind], temperature=float(given["temperature"]), seed=given.get("seed"), logprobs=0
    )
    tools = _tools(sample)
    choice = None if tools is None else "auto"
    messages = [*system, {"role": "user", "content": sample["prompt"]}]
    return nano.generate(messages, options=options, tools=tools, tool_choice=choice, **media)


def _calls(message: Any) -> list[tuple[str, Any]]:
    return [(call.function.name, json.loads(call.function.arguments)) for call in message.tool_calls or ()]


@pytest.mark.parametrize(
    "kind", ["greedy", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("seeded", "short"))]
)
@pytest.mark.parametrize("sample", SAMPLES, ids=[sample["title"].replace(" ", "-") for sample in SAMPLES])
def test_the_server_answers_as_the_library(nano, sdk, sample, kind):
    reply = _library(nano, sample, kind)
    asked: dict[str, Any] = {
        "model": "nano", "messages": _messages(sample), "max_tokens": MOST[kind], "logprobs": True, **OPTIONS[kind],
    }  # fmt: skip
    if (tools := _tools(sample)) is not None:
        asked["tools"] = tools
    plain = sdk.chat.completions.create(**asked)
    with sdk.chat.completions.stream(**asked, stream_options={"include_usage": True}) as stream:
        for _ in stream:
            pass
        streamed = stream.current_completion_snapshot  # the final one is refused where it was cut by its length
    calls = [(call.name, call.arguments) for call in reply.tool_calls if call.error is None]
    for answer in (plain, streamed):
        choice = answer.choices[0]
        assert _calls(choice.message) == calls
        assert choice.finish_reason == ("tool_calls" if calls else reply.finish_reason)
        if not calls:
            assert (choice.message.content or "") == reply.text
        assert [bytes(one.bytes) for one in choice.logprobs.content] == list(map(nano.token_bytes, reply.token_ids))
        assert answer.usage.prompt_tokens == reply.timing.prompt_tokens
        assert answer.usage.completion_tokens == len(reply.token_ids)
        assert answer.usage.total_tokens == reply.timing.prompt_tokens + len(reply.token_ids)
    if kind == "greedy":
        expected = json.loads(sample["expected"]) if calls else sample["expected"]
        assert ([{"name": name, "arguments": held} for name, held in calls] if calls else reply.text) == expected


def _items(sample: dict[str, Any]) -> list[dict[str, Any]]:
    """The messages in the form of responses."""
    items = []
    for message in _messages(sample):
        content = message["content"]
        if isinstance(content, list):
            content = [
                {"type": "input_text", "text": part["text"]} if part["type"] == "text"
                else {"type": "input_image", "image_url": part["image_url"]["url"]} if part["type"] == "image_url"
                else part
                for part in content
            ]  # fmt: skip
        items.append({"role": message["role"], "content": content})
    return items


@pytest.mark.parametrize(
    "sample",
    [
        pytest.param(sample, id=sample["title"].replace(" ", "-"), marks=[pytest.mark.slow] if number % 2 else [])
        for number, sample in enumerate(SAMPLES)
    ],
)
def test_a_response_is_what_the_library_answers(nano, sdk, sample):
    reply = _library(nano, sample, "greedy")
    asked: dict[str, Any] = {
        "model": "nano", "input": _items(sample), "max_output_tokens": MOST["greedy"], **OPTIONS["greedy"],
        "include": ["message.output_text.logprobs"],
    }  # fmt: skip
    if (tools := _tools(sample)) is not None:
        asked["tools"] = [{"type": "function", **tool["function"], "strict": True} for tool in tools]
    plain = sdk.responses.create(**asked)
    with sdk.responses.stream(**asked) as stream:
        kinds = [event.type for event in stream]
        streamed = stream.get_final_response()
    assert kinds[:2] == ["response.created", "response.in_progress"]
    calls = [(call.name, call.arguments) for call in reply.tool_calls if call.error is None]
    for answer in (plain, streamed):
        assert answer.status == "completed"
        made = [item for item in answer.output if item.type == "function_call"]
        assert [(item.name, json.loads(item.arguments)) for item in made] == calls
        assert answer.output_text == ("" if calls else reply.text)
        assert answer.usage.input_tokens == reply.timing.prompt_tokens
        assert answer.usage.output_tokens == len(reply.token_ids)
        if not calls:
            tokens = [bytes(one.bytes) for one in answer.output[0].content[0].logprobs]
            assert tokens == list(map(nano.token_bytes, reply.token_ids))
