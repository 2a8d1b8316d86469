"""Answers that are given whole."""

from __future__ import annotations

import msgspec

from edgephi_serve.connections.exchange import Send


async def answer(
    send: Send, body: bytes, kind: str, *, status: int = 200, headers: list[tuple[bytes, bytes]] | None = None
) -> None:
    """A whole answer."""
    own = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*own, *(headers or [])]})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def answer_json(send: Send, value: msgspec.Struct, status: int = 200) -> None:
    """A whole answer of JSON."""
    await answer(send, msgspec.json.encode(value), "application/json", status=status)
