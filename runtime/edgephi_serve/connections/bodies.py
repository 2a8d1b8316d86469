"""Reading the body of a request within its limit."""

from __future__ import annotations

from edgephi_serve.connections.exchange import Exchange, Receive, Scope
from edgephi_serve.errors import ApiError, invalid, too_large
from edgephi_serve.settings import MIB


class ClientLeftError(Exception):
    """The connection was closed by the client."""


def header(scope: Scope, name: bytes) -> str | None:
    """A header's value; of several the first."""
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), None)


def check_head(scope: Scope, kind: str, most: int) -> None:
    """Refuse a body by its headers.

    Raises:
        ApiError: It is compressed, of another type, or announced as too large.
    """
    if (header(scope, b"content-encoding") or "identity").lower() != "identity":
        raise ApiError(415, "invalid_request_error", None, "Compressed bodies are not read; send it as it is.")
    given = (header(scope, b"content-type") or kind).partition(";")[0].strip().lower()
    if given != kind:
        raise ApiError(415, "invalid_request_error", None, f"The content type is not {kind}.")
    length = header(scope, b"content-length")
    if length is not None and length.isdigit() and int(length) > most:
        raise too_large("The body", f"{most // MIB:,} MiB")


async def read_body(scope: Scope, receive: Receive, most: int) -> bytes:
    """The whole body.

    Raises:
        ApiError: It is larger than `most`.
        ClientLeftError: The client left before its end.
    """
    exchange, parts = Exchange.of(scope), []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeftError
        part = message.get("body", b"")
        exchange.received += len(part)
        if exchange.received > most:
            raise too_large("The body", f"{most // MIB:,} MiB")
        parts.append(part)
        if not message.get("more_body", False):
            break
    if not exchange.received:
        raise invalid("The body is empty; send a JSON object.")
    return b"".join(parts)
