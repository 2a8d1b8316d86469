"""OpenAI's error object."""

from __future__ import annotations

import msgspec

from edgephi_serve.errors import ApiError


class ErrorBody(msgspec.Struct, frozen=True, kw_only=True):
    """A failure, for people and for programs."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The whole answer."""

    error: ErrorBody


def error_json(error: ApiError) -> bytes:
    """An error as the body of an answer."""
    body = ErrorBody(message=error.message, type=error.kind, param=error.param, code=error.code)
    return msgspec.json.encode(ErrorAnswer(error=body))


def error_event(error: ApiError) -> bytes:
    """An error as the last event of a stream."""
    return b"data: " + error_json(error) + b"\n\n"
