"""What is left before the system ends this process: memory, swap and its own limit of addresses."""

from __future__ import annotations

import ctypes
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from edgephi.base.hardware import Memory, memory, swap_bytes
from edgephi.base.units import human_bytes

#: Set to anything but 0, it turns the question off, as `--ignore-memory` does.
IGNORE_VARIABLE = "EDGEPHI_IGNORE_MEMORY"


@dataclass(frozen=True, slots=True, kw_only=True)
class Headroom:
    """The memory that this process may still take.

    Attributes:
        memory: Of the machine and the control group.
        swap_bytes: Free, for this process.
        address_bytes: Left of the process's own limit (`ulimit -v`); None without one.
    """

    memory: Memory
    swap_bytes: int
    address_bytes: int | None

    def missing(self, needed_bytes: int) -> str | None:
        """The kind of memory that is short for so many bytes, and how much of it there is; None if they fit."""
        if needed_bytes <= self.free_bytes:
            return None
        if self.free_bytes == self.address_bytes:
            return f"this process's limit (ulimit -v) leaves {human_bytes(self.address_bytes, 2)}"
        limit = self.memory.limit_bytes
        whose = "" if limit is None else f", within this control group's limit of {human_bytes(limit, 2)}"
        return f"{human_bytes(self.free_bytes, 2)} are available{whose}"

    @property
    def free_bytes(self) -> int:
        """The most that can be taken without being ended."""
        free = self.memory.available_bytes + self.swap_bytes
        return free if self.address_bytes is None else min(free, self.address_bytes)


def headroom(*, root: Path = Path("/")) -> Headroom:
    """Read it; `root` is the file system's."""
    return Headroom(memory=memory(root=root), swap_bytes=swap_bytes(root=root), address_bytes=_address_bytes(root))


def is_ignored() -> bool:
    """Whether the user wants to try all the same."""
    return os.environ.get(IGNORE_VARIABLE, "0") not in ("", "0")


def give_back_freed() -> None:
    """Return to the system what was freed but is kept for later, such as the weights of a closed graph."""
    with suppress(OSError, AttributeError):  # only the GNU C library has it
        ctypes.CDLL(None).malloc_trim(0)


def _address_bytes(root: Path) -> int | None:
    try:
        import resource  # noqa: PLC0415 - not on Windows
    except ImportError:
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return None
    try:
        status = (root / "proc/self/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    used = re.search(r"^VmSize:\s+(\d+) kB$", status, re.MULTILINE)
    return None if used is None else max(0, limit - 1024 * int(used[1]))
