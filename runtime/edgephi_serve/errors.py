"""The answer to a request that fails: a status and OpenAI's error object, never a word of the request's text.

ConfigError                               400 invalid_request_error
CapacityError context, media, memory      400, 400, 503
ArtifactError                             500 model_damaged
anything else                             500 internal
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from edgephi.base.errors import ArtifactError, CapacityError, ConfigError, EdgeError
from edgephi.base.out_of_memory import is_out_of_memory

ErrorType = Literal[
    "invalid_request_error", "authentication_error", "permission_error", "rate_limit_error", "server_error"
]
_PARAM = re.compile(
    r"(the recording|(?:messages|tools|tool_choice|response_format|logit_bias|max_crops|prediction)"
    r"(?:\[\d+\]|\.[a-z_]+)*):? "
)
#: The runtime's names of what a field of a request holds.
_FIELDS = {"max_crops": "edgephi.max_crops", "the recording": "file"}
_EXTRA = re.compile(r'pip install "edgephi\[([a-z]+)\]"')
_MOST_LETTERS = 600


class ApiError(Exception):
    """An answer that is an error.

    Args:
        status: Of HTTP.
        kind: OpenAI's `type`.
        code: OpenAI's `code`.
        message: One or two sentences.
        param: The field that is wrong.
        headers: More headers of the answer, such as `Retry-After`.
    """

    def __init__(
        self,
        status: int,
        kind: ErrorType,
        code: str | None,
        message: str,
        *,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(code or kind)
        self.status = status
        self.kind = kind
        self.code = code
        self.message = message if len(message) <= _MOST_LETTERS else f"{message[:_MOST_LETTERS]}..."
        self.param = param
        self.headers = dict(headers or {})


def invalid(message: str, *, param: str | None = None, code: str | None = None) -> ApiError:
    """A request that cannot be used as it is."""
    return ApiError(400, "invalid_request_error", code, message, param=param)


def unavailable(code: str, message: str) -> ApiError:
    """A server that may answer a little later."""
    return ApiError(503, "server_error", code, message, headers={"Retry-After": "5"})


def shutting_down() -> ApiError:
    """The server ends."""
    return unavailable("server_shutting_down", "The server is shutting down.")


def too_large(what: str, most: str) -> ApiError:
    """A body over its limit; the connection is closed, since the rest of the body may be on its way."""
    message = f"{what} is larger than {most}."
    return ApiError(413, "invalid_request_error", "request_too_large", message, headers={"Connection": "close"})


def as_api_error(error: BaseException) -> ApiError:  # noqa: PLR0911 - one for each kind
    """The answer for an exception of the runtime."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, CapacityError):
        return _too_much(error)
    if isinstance(error, ConfigError):
        return _bad(str(error))
    if isinstance(error, ArtifactError):
        message = "A file of the model is damaged; the server's log names it."
        return ApiError(500, "server_error", "model_damaged", message)
    if isinstance(error, EdgeError) and (extra := _EXTRA.search(str(error))):
        return invalid(
            f'This needs packages that the server lacks; run there: pip install "edgephi[{extra[1]}]"',
            code="not_installed",
        )
    if isinstance(error, MemoryError) or (isinstance(error, Exception) and is_out_of_memory(error)):
        return unavailable("server_is_overloaded", "The server has not enough memory for this request now.")
    return ApiError(500, "server_error", "internal", "The server failed on this request; its log has the place.")


def _bad(text: str) -> ApiError:
    extra = _EXTRA.search(text)
    return invalid(text, param=_field(text), code="unsupported_format" if extra and extra[1] == "media" else None)


def _field(text: str) -> str | None:
    """The field that a message of the runtime begins with."""
    found = _PARAM.match(text)
    return None if found is None else _FIELDS.get(found[1], found[1])


def _too_much(error: CapacityError) -> ApiError:
    text, param = str(error), _field(str(error))
    if error.reason == "context":
        return invalid(text, param=param or "messages", code="context_length_exceeded")
    if error.reason == "media":
        return invalid(text, param=param, code="media_too_large")
    return unavailable("server_is_overloaded", "The server has not enough memory for this request now.")
