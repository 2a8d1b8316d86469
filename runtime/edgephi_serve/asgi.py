"""The server's application for another program's ASGI server, such as the replicas of Ray Serve.

    application = Application(Path("phi4mm"), settings, lambda: Model.load("phi4mm", threads=2))

It loads its model when the ASGI server starts it, by the lifespan protocol, and drains when it is ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from edgephi import Model
from edgephi.base.errors import EdgeError
from edgephi_serve.app import Parts, make_app
from edgephi_serve.connections.exchange import Receive, Scope, Send
from edgephi_serve.connections.keys import read_keys
from edgephi_serve.endpoints.guard import Guard
from edgephi_serve.endpoints.identity import Identity
from edgephi_serve.settings import Settings
from edgephi_serve.turns.engine import Engine
from edgephi_serve.warming import warm


class Application:
    """One model folder as an ASGI application.

    Args:
        folder: Of the model.
        settings: As of a server; the names that clients use in its address go into `access.hosts`.
        load: Loads the model; its `max_queue` must be larger than the settings' queue.
    """

    def __init__(self, folder: Path, settings: Settings, load: Callable[[], Model]) -> None:
        self._folder, self._settings, self._load = folder, settings, load
        self._guard: Guard | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or live from the start of the ASGI server to its end."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            assert self._guard is not None, "the ASGI server sent a request before `lifespan.startup`"
            await self._guard(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            engine = await self._started()
        except EdgeError as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await engine.drain()
        await asyncio.to_thread(engine.close)
        await send({"type": "lifespan.shutdown.complete"})

    async def _started(self) -> Engine:
        access = self._settings.access
        keys = read_keys(access.key_file, access.key)
        engine = Engine(self._settings, shares_keys=len(keys) > 1)
        identity = Identity.of(self._folder, self._settings.name)
        model = await asyncio.to_thread(self._load)
        engine.pace.note_reply(await asyncio.to_thread(warm, model))
        engine.become_ready(model)
        self._guard = make_app(Parts(engine=engine, settings=self._settings, identity=identity, keys=keys))
        return engine
