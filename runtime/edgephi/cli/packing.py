"""Several options as one argument of a command.

Owns how click's parameters become an object. Knows nothing about which options there are.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import fields
from typing import Any, TypeVar

T = TypeVar("T")
Command = Callable[..., Any]


def packed(command: Command, kind: type[T], name: str, decorators: Iterable[Callable[[Command], Command]]) -> Command:
    """Decorate `command`, gathering the new parameters into one argument `name` of type `kind`."""

    @functools.wraps(command)
    def wrapper(*args: Any, **values: Any) -> Any:
        given = {field.name: values.pop(field.name) for field in fields(kind)}  # type: ignore[arg-type]
        return command(*args, **{name: kind(**given)}, **values)

    wrapped: Command = wrapper
    for decorate in reversed(list(decorators)):
        wrapped = decorate(wrapped)
    return wrapped
