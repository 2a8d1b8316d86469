"""Quantities as people read them."""

from __future__ import annotations

from edgephi_bench.measure.measurement import Unit

_TIMES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "\N{MICRO SIGN}s"))


def quantity(value: float, unit: Unit) -> str:
    """`12.3 ms`, `2.70 GB`, `126 tokens`: three digits, and a unit that needs no powers of ten."""
    if value < 0:
        return f"-{quantity(-value, unit)}"
    if unit == "s":
        return _time(value)
    if unit == "bytes":
        scale, name = (1e9, "GB") if value >= 1e9 else (1e6, "MB")
        return f"{_digits(value / scale)} {name}"
    if unit == "J":
        scale, name = (1.0, "J") if value >= 1 else (1e-3, "mJ")
        return f"{_digits(value / scale)} {name}"
    if unit == "x":
        return _digits(value)
    return f"{_digits(value)} {unit}"


def _time(seconds: float) -> str:
    for scale, name in _TIMES:
        if seconds >= scale:
            return f"{_digits(seconds / scale)} {name}"
    return f"{_digits(seconds / _TIMES[-1][0])} {_TIMES[-1][1]}"


def _digits(value: float) -> str:
    """Three of them; whole numbers as they are."""
    if value == round(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:,.1f}" if abs(value) >= 10 else f"{value:,.2f}"
