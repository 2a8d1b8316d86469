"""The server's application under another program's ASGI server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from edgephi import Model, SamplingOptions
from edgephi_serve.asgi import Application
from edgephi_serve.settings import Access, Settings
from support.bundles import nano_bundle, small_bundle

HELLO = {"messages": [{"role": "user", "content": "hello"}], "temperature": 0, "max_tokens": 4}


@asynccontextmanager
async def _living(application: Application) -> AsyncIterator[list[dict[str, Any]]]:
    """What it sends while the block runs; ended as an ASGI server ends it."""
    asked: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    sent: list[dict[str, Any]] = []
    is_begun = asyncio.Event()

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)
        is_begun.set()

    life = asyncio.create_task(application({"type": "lifespan"}, asked.get, send))
    await asked.put({"type": "lifespan.startup"})
    await is_begun.wait()
    yield sent
    await asked.put({"type": "lifespan.shutdown"})
    await life


def test_it_loads_its_model_at_the_start_answers_as_the_library_and_ends_with_it():
    with Model.load(nano_bundle(), threads=1) as model:
        expected = model.generate("hello", options=SamplingOptions.greedy(max_new_tokens=4)).text
    settings = Settings(access=Access(hosts=("phi.lan",)))
    application = Application(nano_bundle(), settings, lambda: Model.load(nano_bundle(), threads=1, max_queue=32))

    async def use() -> tuple[list[httpx.Response], list[str]]:
        transport = httpx.ASGITransport(application)
        async with _living(application) as sent, httpx.AsyncClient(transport=transport) as client:
            asked = [client.post(f"http://{host}/v1/chat/completions", json=HELLO) for host in ("phi.lan", "phi.wan")]
            answers = [await one for one in asked]
        return answers, [message["type"] for message in sent]

    (answer, foreign), sent = asyncio.run(use())
    assert answer.json()["choices"][0]["message"]["content"] == expected
    assert foreign.status_code == 403
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def test_a_folder_that_cannot_be_loaded_fails_the_start_with_the_reason(tmp_path: Path):
    async def sent() -> list[dict[str, Any]]:
        async with _living(Application(small_bundle(), Settings(), lambda: Model.load(tmp_path))) as messages:
            pass
        return messages

    (message,) = asyncio.run(sent())
    assert message["type"] == "lifespan.startup.failed"
    assert str(tmp_path) in message["message"]
