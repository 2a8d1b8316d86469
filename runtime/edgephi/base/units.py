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


def human_duration(seconds: float) -> str:
    """`52 s`, `15 min`, `1.6 h`: of a time that is estimated."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def rate_and_time_left(done_bytes: int, total_bytes: int, elapsed_s: float) -> str:
    """`140 MB/s, 52 s left`; the time only once something is done."""
    rate = done_bytes / elapsed_s if elapsed_s > 0 else 0.0
    left = f", {human_duration((total_bytes - done_bytes) / rate)} left" if rate else ""
    return f"{rate / 1e6:,.0f} MB/s{left}"


def human_count(count: int) -> str:
    """`3.84 G`: three digits or so."""
    size, unit = float(count), ""
    for unit in ("", "k", "M", "G"):
        if size < 1000 or unit == "G":
            break
        size /= 1000
    return f"{size:,.{2 if size < 10 else 1 if size < 100 else 0}f} {unit}" if unit else str(count)
