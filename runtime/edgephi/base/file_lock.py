"""One process at a time: a lock on an open file, which its closing or the end of the process gives back."""

from __future__ import annotations

import fcntl
from typing import IO

from edgephi.base.errors import ConfigError


def lock_alone(file: IO[bytes] | int, refusal: str) -> None:
    """Lock an open file.

    Args:
        file: The file, or its descriptor.
        refusal: The message where another process has the lock.

    Raises:
        ConfigError: Another process has it.
        OSError: The file system has no locks.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ConfigError(refusal) from None
