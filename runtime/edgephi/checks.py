"""What counts as a number where a user gives one: `True` and `"4"` do not. Knows nothing about any option."""

from __future__ import annotations

import math

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
