"""JSON bodies as structs: what is wrong is named by its path, and unknown keys are found."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from edgephi_serve.errors import ApiError, invalid
from edgephi_serve.wire.chat import UNSUPPORTED, WITHOUT_EFFECT, ChatRequest

T = TypeVar("T")

_AT = re.compile(r" - at `(?:key in )?\$?\.?([^`]*)`\Z")
#: Keys of messages that clients echo of a reply, or that hold nothing the model could use.
_ECHOED = frozenset({"role", "annotations", "parsed", "id", "content_parts", "audio", "reasoning", "reasoning_content"})


def parse_json(body: bytes) -> Mapping[str, Any]:
    """The object that a body holds.

    Raises:
        ApiError: It is not JSON in UTF-8, or no object.
    """
    try:
        raw = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise invalid(f"The body is not valid JSON: {error}.") from None
    except RecursionError:
        raise invalid("The body is nested too deeply.") from None
    if not isinstance(raw, dict):
        raise invalid("The body must be a JSON object.")
    return raw


def convert(raw: Mapping[str, Any], kind: type[T]) -> T:
    """An object as a struct.

    Raises:
        ApiError: A key is missing or has another type. `param` is its path.
    """
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        raise _at(str(error)) from None
    except RecursionError:
        raise invalid("The body is nested too deeply.") from None


def _at(text: str) -> ApiError:
    found = _AT.search(text)
    path = found[1] if found else ""
    return invalid(f"{path or 'The body'}: {text[: found.start()] if found else text}.", param=path or None)


def refuse_unsupported(raw: Mapping[str, Any]) -> None:
    """Raise ApiError for what a user would miss if it had no effect."""
    for key, why in UNSUPPORTED.items():
        if raw.get(key) is not None:
            raise invalid(f"{key} is not supported: {why}.", param=key, code="unsupported_parameter")


def unknown_keys(raw: Mapping[str, Any]) -> list[str]:
    """Keys of a chat request that have a value and no effect, as the answer names them."""
    known = WITHOUT_EFFECT.union(ChatRequest.__struct_fields__)
    found = [key for key, value in raw.items() if key not in known and value is not None]
    for message in raw.get("messages") or ():
        found += [f"messages.{key}" for key in _unknown_in_message(message)]
    return sorted({printable(key) for key in found})


def _unknown_in_message(message: Mapping[str, Any]) -> list[str]:
    known = {
        "system": {"content"}, "developer": {"content"}, "user": {"content"}, "tool": {"content", "tool_call_id"},
        "assistant": {"content", "refusal", "tool_calls", "function_call"},
    }  # fmt: skip
    mine = known.get(str(message.get("role")), set()) | _ECHOED
    return [key for key, value in message.items() if key not in mine and value is not None]


def printable(key: str) -> str:
    """A key as it may stand in a header."""
    return re.sub(r"[^A-Za-z0-9_.\-]", "?", key)[:64]
