"""Quantities as people read them."""

from __future__ import annotations


def human_bytes(count: int, digits: int = 1) -> str:
    """`1.5 MB`: decimal units, as disks are sold; with more digits where two sizes are compared."""
    size, unit = float(count), "B"
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{size:,.0f} {unit}" if unit == "B" else f"{size:,.{digits}f} {unit}"


def human_count(count: int) -> str:
    """`3.84 G`: three digits or so."""
    size, unit = float(count), ""
    for unit in ("", "k", "M", "G"):
        if size < 1000 or unit == "G":
            break
        size /= 1000
    return f"{size:,.{2 if size < 10 else 1 if size < 100 else 0}f} {unit}" if unit else str(count)
