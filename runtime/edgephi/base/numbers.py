"""Checks of numbers that users give, where `True` and `"4"` are none, and of paths that any program can open."""

from __future__ import annotations

import math
from numbers import Integral, Real
from pathlib import Path


def is_whole(value: object) -> bool:
    """Whether it is an integer, of Python's or numpy's kind."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_finite(value: object) -> bool:
    """Whether it is a real number that a float can hold, neither infinite nor NaN."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def check_positive(**values: float) -> None:
    """Refuse values that are not positive and finite.

    Raises:
        ValueError: It names the first such value.
    """
    for name, value in values.items():
        if not 0 < value < math.inf:
            raise ValueError(f"{name} is {value}; it must be a positive number")


def is_utf8(path: Path) -> bool:
    """Whether a path is text, which file systems of Linux do not ask for."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
