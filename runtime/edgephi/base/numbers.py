"""What counts as a number where a user gives one, `True` and `"4"` do not, and as a path that any program can open."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np


def is_whole(value: object) -> bool:
    """Whether it is an integer, of Python's or numpy's kind."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def is_finite(value: object) -> bool:
    """Whether it is a real number that a float can hold, neither infinite nor NaN."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def is_utf8(path: Path) -> bool:
    """Whether a path is text, which file systems of Linux do not ask for."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
