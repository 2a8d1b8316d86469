"""JSON as frozen dataclasses: every key must be known, every field without a default present, every type the declared.

The agent imports nothing of the package `edgephi`, so that a release cannot change what judges it.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import types
import typing
from collections.abc import Callable
from typing import Any, TypeVar

from edgephi_agent.errors import RefusedError

T = TypeVar("T")


def decode(cls: type[T], content: bytes, where: str) -> T:
    """Build the dataclass `cls` from the bytes of a JSON object.

    Args:
        cls: Its fields are str, int, bool, tuples, optionals or dataclasses; there are no floats.
        content: UTF-8.
        where: Name of the file, used in messages.

    Raises:
        RefusedError: Not such JSON; a key twice, unknown or missing; a value of another type or out of range.
    """
    try:
        raw = json.loads(
            content.decode("utf-8"), object_pairs_hook=_object, parse_float=_refuse, parse_constant=_refuse
        )
        value: T = _value(cls, raw, "")
    except (ValueError, RecursionError) as error:
        raise RefusedError(f"{where}: {error}") from None
    return value


def encode(value: Any) -> bytes:
    """The bytes of a dataclass, the same for the same values."""
    return json.dumps(dataclasses.asdict(value), sort_keys=True, ensure_ascii=False, indent=1).encode() + b"\n"


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len(result := dict(pairs)) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return result


def _refuse(text: str) -> typing.NoReturn:
    raise ValueError(f"{text} is no whole number")


def _value(hint: Any, raw: object, place: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return _dataclass(hint, raw, place)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        inner = next(one for one in arguments if one is not type(None))
        return None if raw is None else _value(inner, raw, place)
    if origin is tuple:
        if not isinstance(raw, list):
            raise ValueError(f"{place or 'the value'}: expected a list")
        return tuple(_value(arguments[0], one, f"{place}[{index}]") for index, one in enumerate(raw))
    if type(raw) is not hint:
        raise ValueError(f"{place or 'the value'}: expected {hint.__name__}")
    return raw


def _dataclass(cls: Any, raw: object, place: str) -> Any:
    if not isinstance(raw, dict):
        raise ValueError(f"{place or 'the value'}: expected an object")
    hints, required = _fields(cls)
    if unknown := sorted(raw.keys() - hints.keys()):
        raise ValueError(f"{place}: unknown key {unknown[0]!r}")
    if missing := sorted(required - raw.keys()):
        raise ValueError(f"{place}: key {missing[0]!r} is missing")
    return cls(**{name: _value(hints[name], one, f"{place}.{name}") for name, one in raw.items()})


@functools.cache
def _fields(cls: Any) -> tuple[dict[str, Any], frozenset[str]]:
    """Types of all fields, and the names of those without a default."""
    missing = dataclasses.MISSING
    fields = dataclasses.fields(cls)
    required = [one.name for one in fields if one.default is missing and one.default_factory is missing]
    check: Callable[[Any], dict[str, Any]] = typing.get_type_hints
    return check(cls), frozenset(required)
