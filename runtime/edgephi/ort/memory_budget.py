"""The memory that the user allows this process (`--memory`), and what is left of it.

    held    private memory of the process, pages of mapped files aside: the system may drop those
    left    what was allowed, less what is held

A graph is refused where it needs more than is left, and the weights of the graph for prefill are packed where there is
room. Keys and values have a limit of their own (`cache_bytes`).
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from edgephi.base.errors import CapacityError
from edgephi.base.units import human_bytes

_STATUS = Path("proc/self/status")
_KIB = 1024


def held_bytes(*, root: Path = Path("/")) -> int:
    """Memory that this process holds; off Linux the most that it held so far, 0 where that is not known either."""
    try:
        status = (root / _STATUS).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return _peak_bytes()
    return _KIB * sum(map(int, re.findall(r"^(?:RssAnon|RssShmem|VmSwap):\s+(\d+) kB$", status, re.MULTILINE)))


def check_budget(what: object, needed_bytes: int, memory_bytes: int | None) -> None:
    """Refuse what needs more than is left of the memory that this process may hold.

    Args:
        what: Named in the message.
        needed_bytes: What it will take.
        memory_bytes: What the process may hold; None for no limit.

    Raises:
        CapacityError: It needs more.
    """
    if memory_bytes is None:
        return
    left = max(0, memory_bytes - held_bytes())
    if needed_bytes > left:
        raise CapacityError(
            f"{what}: takes at least {human_bytes(needed_bytes, 2)} of memory but {human_bytes(left, 2)} are left of "
            f"the {human_bytes(memory_bytes, 2)} allowed; raise --memory"
        )


def _peak_bytes() -> int:
    try:
        import resource  # noqa: PLC0415 - not on Windows
    except ImportError:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else _KIB)
