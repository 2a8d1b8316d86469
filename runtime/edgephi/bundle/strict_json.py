"""Strict reading of JSON objects into frozen dataclasses.

Owns the rules: every key must be known, every field without a default must be present, every value must
have the declared type. Knows nothing about what the dataclasses mean.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import types
import typing
from typing import Any, TypeVar

from edgephi.base.errors import ArtifactError
from edgephi.base.numbers import is_finite

T = TypeVar("T")


def parse(text: str, where: str) -> object:
    """The JSON value of a file's text.

    Args:
        text: Of the file.
        where: Its path, used in messages.

    Raises:
        ArtifactError: Not JSON.
    """
    try:
        raw: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{where}: not valid JSON ({error})") from error
    return raw


def decode(cls: type[T], raw: object, where: str) -> T:
    """Build the dataclass `cls` from a parsed JSON object.

    Args:
        cls: A dataclass whose fields are str, int, float, bool, tuples, optionals, literals or dataclasses.
        raw: The parsed JSON value.
        where: Name of the place in the file, used in messages (`edgephi.json: decoder`).

    Raises:
        ArtifactError: A key is unknown or missing, or a value has another type.
    """
    if not isinstance(raw, dict):
        raise ArtifactError(f"{where}: expected an object, found {_kind(raw)}")
    fields, hints = _fields(cls)  # type: ignore[arg-type]
    if unknown := sorted(raw.keys() - fields.keys()):
        raise ArtifactError(f"{where}: unknown key {unknown[0]!r}; known: {', '.join(fields)}")
    values = {}
    for name, field in fields.items():
        if name in raw:
            values[name] = _value(hints[name], raw[name], f"{where}.{name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ArtifactError(f"{where}: key {name!r} is missing")
    try:
        return cls(**values)
    except ValueError as error:
        raise ArtifactError(f"{where}: {error}") from error


@functools.cache
def _fields(cls: type[Any]) -> tuple[dict[str, dataclasses.Field[Any]], dict[str, Any]]:
    """The fields of a dataclass, and their types."""
    return {field.name: field for field in dataclasses.fields(cls)}, typing.get_type_hints(cls)


def _value(hint: Any, raw: object, where: str) -> object:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return decode(hint, raw, where)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if raw is None and type(None) in arguments:
            return None
        return _value(next(a for a in arguments if a is not type(None)), raw, where)
    if origin is tuple:
        if not isinstance(raw, list):
            raise ArtifactError(f"{where}: expected a list, found {_kind(raw)}")
        return tuple(_value(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(raw))
    if origin is typing.Literal:
        if raw not in arguments:
            raise ArtifactError(f"{where}: {raw!r} is not one of {', '.join(map(str, arguments))}")
        return raw
    return _scalar(hint, raw, where)


def _scalar(hint: Any, raw: object, where: str) -> object:
    if hint is float and isinstance(raw, int | float) and not isinstance(raw, bool):
        if not is_finite(raw):
            raise ArtifactError(f"{where}: {_kind(raw)} is not a finite number")
        return float(raw)
    if not isinstance(raw, hint) or (isinstance(raw, bool) and hint is not bool):
        raise ArtifactError(f"{where}: expected {hint.__name__}, found {_kind(raw)}")
    return raw


def _kind(raw: object) -> str:
    return {dict: "an object", list: "a list", type(None): "null"}.get(type(raw), repr(raw)[:40])
