"""The shapes of answers, the description of the interface, and what a request would cost."""

from __future__ import annotations

import base64
import json
import re
import threading
from pathlib import Path

import msgspec
import pytest
from starlette.routing import Route

from edgephi_serve.app import Parts, make_app
from edgephi_serve.connections.keys import Keys
from edgephi_serve.endpoints import openapi
from edgephi_serve.endpoints.identity import Identity
from edgephi_serve.settings import Settings
from edgephi_serve.turns.engine import Engine
from edgephi_serve.wire.answers import ChatAnswer, Chunk
from edgephi_serve.wire.models import CostAnswer, ModelList
from support.bundles import nano_bundle

NANO = Path(__file__).parents[2] / "nano/samples"
URL = "/v1/chat/completions"
HELLO = [{"role": "user", "content": "hello"}]
LOCK = {
    "type": "function",
    "function": {
        "name": "lock",
        "description": "Lock a device.",
        "parameters": {"type": "object", "properties": {"device": {"type": "string"}}, "required": ["device"]},
    },
}


def _url(name: str) -> str:
    return f"data:;base64,{base64.b64encode((NANO / name).read_bytes()).decode()}"


def _image(name: str = "sign.png", **more: str) -> dict:
    return {"type": "image_url", "image_url": {"url": _url(name), **more}}


def _audio(name: str = "command.wav") -> dict:
    return {"type": "input_audio", "input_audio": {"data": _url(name).partition(",")[2], "format": "wav"}}


def _user(*parts: object) -> list[dict]:
    return [{"role": "user", "content": [{"type": "text", "text": p} if isinstance(p, str) else p for p in parts]}]


def test_every_address_is_described_and_nothing_else():
    settings = Settings()
    identity = Identity.of(nano_bundle(), None)
    parts = Parts(engine=Engine(settings), settings=settings, identity=identity, keys=Keys([]))
    answering = [route for route in make_app(parts)._app.routes if isinstance(route, Route)]
    routes = {route.path.replace("{name:path}", "{name}"): route.methods for route in answering}
    described = json.loads(openapi.document())["paths"]
    page = {"/", "/page/{name}"}
    short = {path.removeprefix("/v1") for path in routes if path.startswith("/v1/")}
    assert set(described) == set(routes) - page - short
    for path, operations in described.items():
        assert {name.upper() for name in operations if name != "parameters"} == routes[path] - {"HEAD"}


def test_every_reference_of_the_description_leads_somewhere(client):
    document = client.get("/openapi.json").json()
    names = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(document)))
    assert names
    assert names <= set(document["components"]["schemas"])
    assert "messages" in document["components"]["schemas"]["ChatRequest"]["properties"]


@pytest.mark.parametrize(
    "more",
    [
        {}, {"n": 2}, {"logprobs": True, "top_logprobs": 1}, {"stream_options": {"include_usage": True}},
        {"tools": [LOCK], "tool_choice": "required"}, {"max_tokens": 1}, {"stop": "e"},
    ],
)  # fmt: skip
def test_answers_are_of_their_types_to_the_letter(client, more):
    asked = {"messages": HELLO, "max_tokens": 40, "temperature": 0, **more}
    text = client.post(URL, json={**asked, "stream": True}).text
    events = [block[6:] for block in text.split("\n\n") if block.startswith("data: ")]
    chunks = [msgspec.json.decode(event, type=Chunk) for event in events[:-1]]
    whole = msgspec.json.decode(
        client.post(URL, json={key: value for key, value in asked.items() if key != "stream_options"}).content,
        type=ChatAnswer,
    )
    for index, choice in enumerate(whole.choices):
        mine = [c.choices[0] for c in chunks if c.choices and c.choices[0].index == index]
        reasons = [one.finish_reason for one in mine]
        assert reasons == [None] * (len(mine) - 1) + [choice.finish_reason]
        said = "".join(one.delta.content for one in mine if isinstance(one.delta.content, str))
        assert said == (choice.message.content or "")
    assert len({chunk.id for chunk in chunks}) == 1
    if "stream_options" in more:
        assert chunks[-1].choices == []
        assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
        assert all(chunk.usage is None for chunk in chunks[:-1])


def test_the_model_is_listed_with_what_it_takes(client):
    listed = msgspec.json.decode(client.get("/v1/models").content, type=ModelList).data[0]
    assert (listed.id, listed.architecture.input_modalities) == ("nano", ["text", "image", "audio"])
    assert msgspec.json.decode(client.get("/v1/models/nano").content)["id"] == "nano"
    assert len(listed.languages) == 8


@pytest.mark.parametrize(
    ("asked", "kinds"),
    [
        ({"messages": HELLO}, []),
        ({"messages": HELLO, "tools": [LOCK]}, []),
        ({"messages": HELLO, "tools": [LOCK], "tool_choice": "none"}, []),
        ({"messages": [{"role": "system", "content": "Be kind."}, *_user("<|image_1|> hello")]}, []),
        ({"messages": _user(_image(), "What is this?")}, ["image"]),
        ({"messages": _user(_image(detail="low"), "What is this?")}, ["image"]),
        ({"messages": _user(_image(), _image("number.png"), "What is this?")}, ["image", "image"]),
        ({"messages": _user(_audio(), "Transcribe the audio clip into text.")}, ["audio"]),
        ({"messages": _user("What number?", _image("number.png"), _audio())}, ["image", "audio"]),
        ({"messages": _user("Is <|image_1|> red?", _image("number.png"))}, ["image"]),
    ],
)
def test_the_cost_is_what_the_request_takes(client, asked, kinds):
    cost = msgspec.json.decode(client.post(f"{URL}/input_tokens", json=asked).content, type=CostAnswer)
    usage = client.post(URL, json={**asked, "max_tokens": 1}).json()["usage"]
    assert cost.input_tokens == usage["prompt_tokens"]
    assert cost.details.text + cost.details.image + cost.details.audio == cost.input_tokens
    assert ["image" if hasattr(one, "crops") else "audio" for one in cost.media] == kinds
    assert (cost.details.image > 0, cost.details.audio > 0) == ("image" in kinds, "audio" in kinds)
    again = client.post(URL, json={**asked, "max_tokens": 1}).json()["usage"]  # its media are in the cache
    for details in (usage["prompt_tokens_details"], again["prompt_tokens_details"]):
        found = [details[f"{kind}_tokens"] for kind in ("text", "image", "audio")]
        assert found == [cost.details.text, cost.details.image, cost.details.audio]
    assert again["prompt_tokens_details"]["cached_tokens"] == cost.input_tokens - 1


def test_the_cost_needs_no_turn(server, client):
    started = threading.Event()

    def hold() -> None:
        asked = {"messages": [{"role": "user", "content": "hello " * 3000}], "max_tokens": 400, "stream": True}
        with server.client() as own, own.stream("POST", URL, json=asked) as answer:
            next(answer.iter_bytes())
            started.set()

    thread = threading.Thread(target=hold)
    thread.start()
    assert started.wait(10)
    assert client.post(f"{URL}/input_tokens", json={"messages": HELLO}).status_code == 200
    thread.join()


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": _user({"type": "image_url", "image_url": {"url": "http://a/b"}})},
         "messages[0].content[0].image_url"),
        ({"messages": _user(_image()), "edgephi": {"max_crops": 1000}}, "edgephi.max_crops"),
    ],
)  # fmt: skip
def test_the_cost_of_what_cannot_be_asked_is_an_error(client, asked, param):
    answer = client.post(f"{URL}/input_tokens", json=asked)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), answer.text
