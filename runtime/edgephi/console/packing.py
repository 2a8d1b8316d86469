"""Several options as one argument of a command: click's parameters become an object."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import fields
from typing import Any, TypeVar

T = TypeVar("T")
Command = Callable[..., Any]


def decorated_with(*decorators: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """One decorator for several, the first outermost: help lists options in this order."""

    def decorate(command: Command) -> Command:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


def packed(command: Command, kind: type[T], name: str, decorators: Iterable[Callable[[Command], Command]]) -> Command:
    """Decorate `command`, gathering the new parameters into one argument `name` of type `kind`."""

    @functools.wraps(command)
    def wrapper(*args: Any, **values: Any) -> Any:
        given = {field.name: values.pop(field.name) for field in fields(kind)}  # type: ignore[arg-type]
        return command(*args, **{name: kind(**given)}, **values)

    return decorated_with(*decorators)(wrapper)
