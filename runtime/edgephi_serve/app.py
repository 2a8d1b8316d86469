"""The routes: each address with and without `/v1`."""

from __future__ import annotations

import difflib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.routing import BaseRoute, Route, Router, WebSocketRoute

from edgephi_serve.connections.exchange import Exchange, Receive, Scope, Send
from edgephi_serve.connections.keys import Keys
from edgephi_serve.connections.logs import RequestLog
from edgephi_serve.connections.replying import answer, answer_json
from edgephi_serve.endpoints import openapi
from edgephi_serve.endpoints.completions import Completions
from edgephi_serve.endpoints.forms import chat_form, responses_form
from edgephi_serve.endpoints.guard import App, Guard
from edgephi_serve.endpoints.identity import Identity
from edgephi_serve.endpoints.input_tokens import InputTokens
from edgephi_serve.endpoints.metrics import Metrics
from edgephi_serve.endpoints.page_files import PageFiles
from edgephi_serve.endpoints.transcriptions import Transcriptions, Uploads
from edgephi_serve.errors import ApiError
from edgephi_serve.realtime.endpoint import Realtime, upgrade
from edgephi_serve.settings import Settings
from edgephi_serve.turns.engine import Engine
from edgephi_serve.wire.models import Health, ModelList

_NOT_SUPPORTED = {
    "/v1/embeddings": "this model gives no embeddings",
    "/v1/completions": "use /v1/chat/completions",
    "/v1/audio/speech": "this model writes text and does not speak",
    "/v1/images/generations": "this model makes no images",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The parts of an application."""

    engine: Engine
    settings: Settings
    identity: Identity
    keys: Keys


class Named:
    """An endpoint that notes its name for log and metrics.

    Args:
        name: The route.
        app: What answers.
    """

    def __init__(self, name: str, app: App) -> None:
        self.name = name
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        Exchange.of(scope).endpoint = self.name
        await self._app(scope, receive, send)


def make_app(parts: Parts) -> Guard:
    """The whole application."""
    engine, identity, max_context = parts.engine, parts.identity, parts.settings.max_context
    metrics = Metrics(engine)

    async def health(_scope: Scope, _: Receive, send: Send) -> None:
        status, word = engine.health
        await answer_json(send, Health(status=word), status)

    async def livez(_scope: Scope, _: Receive, send: Send) -> None:
        await answer_json(send, Health(status="ok"))

    async def models(_scope: Scope, _: Receive, send: Send) -> None:
        await answer_json(send, ModelList(data=[identity.describe(engine.model, max_context)]))

    async def model(scope: Scope, _: Receive, send: Send) -> None:
        described = identity.describe(engine.model, max_context)
        if scope["path_params"]["name"] not in identity.names:
            message = f"No such model; this server has {identity.name}."
            raise ApiError(404, "invalid_request_error", "model_not_found", message, param="model")
        await answer_json(send, described)

    async def figures(_scope: Scope, _: Receive, send: Send) -> None:
        await answer(send, metrics.text(), "text/plain; version=0.0.4; charset=utf-8")

    async def interface(_scope: Scope, _: Receive, send: Send) -> None:
        await answer(send, openapi.document(), "application/json")

    uploads = Uploads(parts.settings.limits.uploads)
    routes = [
        *_both("/chat/completions", "POST", Completions(chat_form, engine, identity, metrics)),
        *_both("/responses", "POST", Completions(responses_form, engine, identity, metrics)),
        *_both("/chat/completions/input_tokens", "POST", InputTokens(chat_form, engine, identity)),
        *_both("/responses/input_tokens", "POST", InputTokens(responses_form, engine, identity)),
        *_both("/audio/transcriptions", "POST", Transcriptions("transcribe", engine, uploads, metrics)),
        *_both("/audio/translations", "POST", Transcriptions("translate", engine, uploads, metrics)),
        *_both("/realtime", "GET", upgrade),
        *_sockets("/realtime", Realtime(engine, identity, metrics)),
        *_both("/models", "GET", models),
        *_both("/models/{name:path}", "GET", model),
        *_both("/health", "GET", health),
        _route("/readyz", "GET", health),
        _route("/livez", "GET", livez),
        _route("/metrics", "GET", figures),
        _route("/openapi.json", "GET", interface),
        _route("/", "GET", PageFiles("index.html")),
        _route("/page/{name}", "GET", PageFiles()),
    ]
    router = Router(routes, redirect_slashes=False, default=_unknown(routes))
    log = RequestLog(parts.settings.log, has_access=parts.settings.access_log)
    return Guard(router, parts.settings, parts.keys, engine, metrics, log)


def _route(path: str, method: str, app: App) -> Route:
    return Route(path, Named(path, app), methods=[method])


def _both(path: str, method: str, app: App) -> list[BaseRoute]:
    return [Route(at, Named(f"/v1{path}", app), methods=[method]) for at in (f"/v1{path}", path)]


def _sockets(path: str, app: App) -> list[BaseRoute]:
    return [WebSocketRoute(at, Named(f"/v1{path}", app)) for at in (f"/v1{path}", path)]


def _unknown(routes: list[BaseRoute]) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    known = [route.path for route in routes if isinstance(route, Route) and "{" not in route.path]

    async def refuse(scope: Scope, _: Receive, _send: Send) -> None:
        path = scope["path"]
        full = path if path.startswith("/v1/") else f"/v1{path}"
        if full in _NOT_SUPPORTED:
            raise ApiError(404, "invalid_request_error", "not_supported", f"Not offered: {_NOT_SUPPORTED[full]}.")
        near = difflib.get_close_matches(path, known, n=1)
        hint = f"; the nearest is {near[0]}" if near else ""
        raise ApiError(404, "invalid_request_error", "unknown_url", f"There is nothing at this address{hint}.")

    return refuse
