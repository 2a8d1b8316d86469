"""The checks before every endpoint: names of hosts and pages, keys, one form of errors, headers, log and metrics."""

from __future__ import annotations

import re
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.exceptions import HTTPException

from edgephi_serve.connections.bodies import ClientLeftError, header
from edgephi_serve.connections.exchange import Exchange, Receive, Scope, Send
from edgephi_serve.connections.keys import Keys
from edgephi_serve.connections.logs import RequestLog
from edgephi_serve.endpoints.metrics import Metrics
from edgephi_serve.errors import ApiError, as_api_error
from edgephi_serve.settings import Settings
from edgephi_serve.turns.engine import Engine
from edgephi_serve.wire.error import error_json

App = Callable[[Scope, Receive, Send], Awaitable[None]]
_ID = re.compile(r"[A-Za-z0-9._\-]{1,128}\Z")
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
_PUBLIC = ("/health", "/v1/health", "/livez", "/readyz")
_METHODS = "GET, POST, OPTIONS"
_HEADERS = "authorization, content-type, x-api-key, x-request-id"
#: What a page asks to send more; OpenAI's client says in eight headers where it runs.
_HEADER_NAMES = re.compile(r"[A-Za-z0-9\-, ]{1,1000}\Z")
_KEY_PROTOCOL = "openai-insecure-api-key."


class Guard:
    """An ASGI application around another.

    Args:
        app: What answers.
        settings: Who may ask.
        keys: With which keys.
        engine: Notified of damage.
        metrics: Count answers.
        log: Gets a line for each.
    """

    def __init__(
        self, app: App, settings: Settings, keys: Keys, engine: Engine, metrics: Metrics, log: RequestLog
    ) -> None:
        self._app = app
        self._settings = settings
        self.keys = keys
        self._engine = engine
        self._metrics = metrics
        self._log = log
        self._hosts = _LOOPBACK | {settings.listen.host.lower(), *(host.lower() for host in settings.access.hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, whatever happens."""
        if scope["type"] not in ("http", "websocket"):
            return
        given = header(scope, b"x-request-id")
        exchange = Exchange(id=given if given and _ID.match(given) else f"req_{secrets.token_hex(12)}")
        exchange.put(scope)
        scope["app"] = self
        sender = _Sender(scope["type"], send, exchange, self._cors(scope))
        try:
            await self._admitted(scope, receive, sender)
        except ClientLeftError:
            exchange.status, exchange.reason = 499, "client_left"
            self._metrics.cancelled.labels("client").inc()
        except Exception as error:
            await self._refuse(error, exchange, sender)
        finally:
            self._metrics.requests.labels(exchange.endpoint, exchange.status).inc()
            self._metrics.request_s.labels(exchange.endpoint).observe(exchange.age_s)
            self._log.note(exchange)

    async def _admitted(self, scope: Scope, receive: Receive, sender: _Sender) -> None:
        self._check_host(scope)
        self._check_origin(scope)
        if scope.get("method") == "OPTIONS" and header(scope, b"origin") is not None:
            await sender.whole(204, b"", [])
            return
        self._check_key(scope)
        await self._app(scope, receive, sender.send)

    def _check_host(self, scope: Scope) -> None:
        given = (header(scope, b"host") or "").lower()
        host = re.sub(r":\d+\Z", "", given)
        if self._settings.listen.uds is None and host not in self._hosts:
            raise ApiError(
                403, "permission_error", "host_not_allowed",
                "This server is not asked by that name; its owner can add it with --allow-host.",
            )  # fmt: skip

    def _check_origin(self, scope: Scope) -> None:
        origin = header(scope, b"origin")
        if origin is None or self._is_own(scope, origin) or origin in self._settings.access.origins:
            return
        raise ApiError(
            403, "permission_error", "origin_not_allowed",
            "Web pages of that origin may not ask; the server's owner can add it with --cors-origin.",
        )  # fmt: skip

    def _is_own(self, scope: Scope, origin: str) -> bool:
        scheme = {"ws": "http", "wss": "https"}.get(scope["scheme"], scope["scheme"])
        return origin == f"{scheme}://{header(scope, b'host') or ''}"

    def _check_key(self, scope: Scope) -> None:
        if not len(self.keys):
            return
        path = scope["path"]
        is_page = scope.get("method") in ("GET", "HEAD") and (path == "/" or path.startswith("/page/"))
        if is_page or path in _PUBLIC or (path == "/metrics" and self._settings.listen.is_local):
            return
        name = self.keys.name_of(_given_key(scope))
        if name is None:
            raise ApiError(
                401, "authentication_error", "invalid_api_key", "The key is missing or not known.",
                headers={"WWW-Authenticate": "Bearer"},
            )  # fmt: skip
        Exchange.of(scope).key = name

    def _cors(self, scope: Scope) -> list[tuple[bytes, bytes]]:
        origin = header(scope, b"origin")
        if origin is None or origin not in self._settings.access.origins:
            return []
        asked = header(scope, b"access-control-request-headers") or ""
        headers = f"{_HEADERS}, {asked}" if _HEADER_NAMES.match(asked) else _HEADERS
        return [
            (b"access-control-allow-origin", origin.encode("latin-1")),
            (b"access-control-allow-methods", _METHODS.encode()),
            (b"access-control-allow-headers", headers.encode()),
            (b"access-control-expose-headers", b"x-request-id, x-edgephi-ignored, retry-after"),
            (b"vary", b"Origin"),
        ]

    async def _refuse(self, error: Exception, exchange: Exchange, sender: _Sender) -> None:
        if isinstance(error, HTTPException):
            allow = (error.headers or {}).get("Allow", "")
            api = ApiError(
                405, "invalid_request_error", "method_not_allowed", f"This address takes {allow}.",
                headers={"Allow": allow},
            )  # fmt: skip
        else:
            api = as_api_error(error)
        self._engine.note_failure(error)
        exchange.reason = api.code or api.kind
        if api.status in (401, 403, 413, 429, 503):
            self._metrics.rejected.labels(exchange.reason).inc()
        if api.status == 500:
            self._log.failed(exchange, error)
        if sender.has_begun:  # the connection is cut, and the client knows that the answer is not whole
            exchange.status = api.status
            return
        headers = [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in api.headers.items()]
        if api.status in (400, 401, 403, 404, 405, 413, 415, 426, 500):
            headers.append((b"x-should-retry", b"false"))
        await sender.whole(api.status, error_json(api), headers)


def _given_key(scope: Scope) -> str | None:
    """Of a header, or of the protocols that a page asks for, which cannot set headers of a WebSocket."""
    given = header(scope, b"authorization") or ""
    if given[:7].lower() == "bearer ":
        return given[7:].strip()
    offered = (one for one in scope.get("subprotocols", ()) if one.startswith(_KEY_PROTOCOL))
    return header(scope, b"x-api-key") or next(offered, "").removeprefix(_KEY_PROTOCOL) or None


class _Sender:
    """Adds to every answer what every answer has.

    Args:
        kind: `websocket` for an answer to a client that asks for one.
        send: Sends it.
        exchange: Notes it.
        more: Headers.
    """

    def __init__(self, kind: str, send: Send, exchange: Exchange, more: list[tuple[bytes, bytes]]) -> None:
        self._refusal = "websocket.http.response" if kind == "websocket" else "http.response"
        self._send = send
        self._exchange = exchange
        self._more = more
        self.has_begun = False

    async def send(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] in ("http.response.start", "websocket.http.response.start", "websocket.accept"):
            self.has_begun = True
            self._exchange.status = message.get("status", 101)
            headers = [*message.get("headers", []), *self._more]
            headers += [
                (b"x-request-id", self._exchange.id.encode()),
                (b"x-content-type-options", b"nosniff"),
            ]
            if not any(name.lower() == b"cache-control" for name, _ in headers):
                headers.append((b"cache-control", b"no-store"))
            if self._exchange.ignored:
                headers.append(
                    (b"x-edgephi-ignored", ", ".join(self._exchange.ignored)[:1000].encode("ascii", "replace"))
                )
            message = {**message, "headers": headers}
        await self._send(message)

    async def whole(self, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        kind = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await self.send({"type": f"{self._refusal}.start", "status": status, "headers": [*kind, *headers]})
        await self.send({"type": f"{self._refusal}.body", "body": body, "more_body": False})
