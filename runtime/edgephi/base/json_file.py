"""JSON: files as values, and values as frozen dataclasses.

What edgephi writes itself is decoded strictly: every key must be known, every field without a default present, every
value of the declared type. Readers are made once for each type, since a model folder lists thousands of tensors.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from edgephi.base.errors import ArtifactError

T = TypeVar("T")
_Read = Callable[[object], object]


def parse_json(text: str, where: str) -> object:
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


def read_json(path: Path, advice: str = "") -> object:
    """The JSON value of a file; arguments and errors are those of `read_text`.

    Raises:
        ArtifactError: Also where it is not JSON.
    """
    return parse_json(read_text(path, advice), str(path))


def read_text(path: Path, advice: str = "") -> str:
    """The text of a file, without the mark that some editors of Windows put in front.

    Args:
        path: The file.
        advice: The end of the message when it cannot be read.

    Raises:
        ArtifactError: It cannot be read, or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror or error}){advice}") from error
    except UnicodeDecodeError as error:
        raise ArtifactError(f"{path}: not UTF-8 at byte {error.start:,}; convert it") from error


def decode(cls: type[T], raw: object, where: str) -> T:
    """Build the dataclass `cls` from a parsed JSON object.

    Args:
        cls: A dataclass whose fields are str, int, float, bool, tuples, optionals, literals or dataclasses.
        raw: The parsed JSON value.
        where: Name of the place in the file, used in messages (`edgephi.json: decoder`).

    Raises:
        ArtifactError: A key is unknown or missing, or a value has another type.
    """
    try:
        value: T = _reader(cls)(raw)  # type: ignore[assignment, arg-type]
    except _DecodeError as wrong:
        raise ArtifactError(f"{where}{wrong.place}: {wrong.problem}") from wrong.__cause__
    return value


def as_type(kind: type[T], value: object) -> T:
    """A JSON value as a str, int, float or bool. Whole numbers serve as floats; a bool is no number.

    Raises:
        TypeError: It has another type.
        ValueError: A float is wanted, and it is infinite, not a number, or too large.
    """
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise ValueError("not a finite number")
        return number  # type: ignore[return-value]
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise TypeError(f"expected {kind.__name__}")
    return value


class _DecodeError(Exception):
    """A value that cannot be decoded, and its place below the value that is being decoded."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem, self.place = problem, ""

    def below(self, place: str) -> _DecodeError:
        """The same, seen from one level above."""
        self.place = place + self.place
        return self


@functools.cache
def _reader(hint: Any) -> _Read:
    """The function that makes a value of the type `hint` from a JSON value, or raises _DecodeError."""
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _object_reader(hint)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        inner = _reader(next(a for a in arguments if a is not type(None)))
        return (lambda raw: None if raw is None else inner(raw)) if type(None) in arguments else inner
    if origin is tuple:
        return functools.partial(_read_list, _reader(arguments[0]))
    if origin is typing.Literal:
        return functools.partial(_read_literal, arguments)
    return functools.partial(_read_scalar, hint)


def _object_reader(cls: type[Any]) -> _Read:
    hints, fields = typing.get_type_hints(cls), dataclasses.fields(cls)
    readers = {field.name: _reader(hints[field.name]) for field in fields}
    missing = dataclasses.MISSING
    required = [field.name for field in fields if field.default is missing and field.default_factory is missing]

    def read(raw: object) -> object:
        if not isinstance(raw, dict):
            raise _DecodeError(f"expected an object, found {_kind(raw)}")
        if unknown := sorted(raw.keys() - readers.keys()):
            raise _DecodeError(f"unknown key {unknown[0]!r}; known: {', '.join(readers)}")
        values = {}
        for name, value in raw.items():
            try:
                values[name] = readers[name](value)
            except _DecodeError as wrong:
                raise wrong.below(f".{name}") from wrong.__cause__
        for name in required:
            if name not in values:
                raise _DecodeError(f"key {name!r} is missing")
        try:
            return cls(**values)
        except ValueError as error:
            raise _DecodeError(str(error)) from error

    return read


def _read_list(read: _Read, raw: object) -> tuple[object, ...]:
    if not isinstance(raw, list):
        raise _DecodeError(f"expected a list, found {_kind(raw)}")
    values = []
    for index, item in enumerate(raw):
        try:
            values.append(read(item))
        except _DecodeError as wrong:
            raise wrong.below(f"[{index}]") from wrong.__cause__
    return tuple(values)


def _read_literal(allowed: tuple[object, ...], raw: object) -> object:
    if raw not in allowed:
        raise _DecodeError(f"{raw!r} is not one of {', '.join(map(str, allowed))}")
    return raw


def _read_scalar(kind: type[Any], raw: object) -> object:
    try:
        return as_type(kind, raw)
    except TypeError as error:
        raise _DecodeError(f"{error}, found {_kind(raw)}") from None
    except ValueError as error:
        raise _DecodeError(f"{_kind(raw)} is {error}") from None


def _kind(raw: object) -> str:
    return {dict: "an object", list: "a list", type(None): "null"}.get(type(raw), repr(raw)[:40])
