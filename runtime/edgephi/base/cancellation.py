"""How a request is cancelled: a question asked between steps, and the signal that leaves them."""

from __future__ import annotations

from collections.abc import Callable


class Stopped(Exception):  # noqa: N818 - a signal like StopIteration, not an error
    """`should_stop` returned True. Never leaves the package."""


def never() -> bool:
    """The default answer to whether a request should stop."""
    return False


def ask(should_stop: Callable[[], bool]) -> None:
    """Raise Stopped if the answer is yes."""
    if should_stop():
        raise Stopped
