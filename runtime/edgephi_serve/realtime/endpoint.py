"""`/v1/realtime?intent=transcription`: who gets a session of live captions."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs

from edgephi.prompt.routing import choose_route
from edgephi_serve.connections.bodies import ClientLeftError
from edgephi_serve.connections.exchange import Exchange, Receive, Scope, Send
from edgephi_serve.endpoints.identity import Identity
from edgephi_serve.endpoints.metrics import Metrics
from edgephi_serve.errors import ApiError, invalid
from edgephi_serve.reading.realtime import SessionState
from edgephi_serve.realtime.connection import Channel, Connection
from edgephi_serve.realtime.live_audio import LiveAudio
from edgephi_serve.turns.engine import Engine
from edgephi_serve.turns.jobs import JobLimits

_PROTOCOL = "realtime"


async def upgrade(_scope: Scope, _: Receive, _send: Send) -> None:
    """Refuse a request that is no WebSocket.

    Raises:
        ApiError: Always.
    """
    raise ApiError(
        426, "invalid_request_error", "upgrade_required", "Connect to this address by a WebSocket.",
        headers={"Upgrade": "websocket", "Connection": "Upgrade"},
    )  # fmt: skip


async def _accept(send: Send, protocol: str | None) -> None:
    try:
        await send({"type": "websocket.accept", "subprotocol": protocol})
    except OSError:  # uvicorn's, for a connection that was closed
        raise ClientLeftError from None


class Realtime:
    """The endpoint.

    Args:
        engine: Whose model writes down.
        identity: What the model is called.
        metrics: Count sessions.
    """

    def __init__(self, engine: Engine, identity: Identity, metrics: Metrics) -> None:
        self._engine = engine
        self._identity = identity
        self._metrics = metrics
        self._count = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one session."""
        self._check(scope)
        audio = LiveAudio(self._engine, self._metrics)
        limits = JobLimits(queue_s=math.inf, turn_s=math.inf, holds_place=False)
        self._check_room()
        async with self._engine.job(audio.work, limits) as job:
            with self._one():  # whoever comes next need not wait until the model has stopped
                await receive()  # the wish to connect
                protocol = _PROTOCOL if _PROTOCOL in scope["subprotocols"] else None
                await _accept(send, protocol)
                expires_at = int(time.time() + self._engine.settings.times.session_s)
                state = SessionState(model=self._identity.name, expires_at=expires_at)
                channel = Channel(receive=receive, send=send, exchange=Exchange.of(scope))
                await Connection(channel, self._engine, job, audio, state).run()

    def _check(self, scope: Scope) -> None:
        """Raise ApiError for what no session can be had for."""
        intent = parse_qs(scope["query_string"].decode("latin-1")).get("intent", [""])[-1]
        if intent != "transcription":
            raise invalid(
                "Sessions write audio down, and do not answer it; connect to /v1/realtime?intent=transcription.",
                param="intent",
                code="unsupported_parameter",
            )
        choose_route(self._engine.model.manifest, num_images=0, num_audio=1, adapter="auto")

    def _check_room(self) -> None:
        most = self._engine.settings.limits.realtime
        if self._count >= most:
            raise ApiError(
                429, "rate_limit_error", "slow_down",
                f"{self._count} sessions of live captions are open, and no more than {most} may be; see --realtime.",
                headers={"Retry-After": "10"},
            )  # fmt: skip

    @contextmanager
    def _one(self) -> Iterator[None]:
        """One more session, for the block."""
        self._check_room()
        self._count += 1
        self._metrics.realtime_sessions.inc()
        try:
            yield
        finally:
            self._count -= 1
            self._metrics.realtime_sessions.dec()
