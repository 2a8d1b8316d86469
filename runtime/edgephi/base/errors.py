"""The errors this package raises on purpose, and the exit code of each.

    EdgeError            exit 1   base of all
      ConfigError        exit 2   the user asked for something impossible
      ArtifactError      exit 3   a file is missing, damaged or foreign
      CapacityError      exit 4   valid, but does not fit this model or this machine

docs/exit-codes.md lists what else a command may end with.

A message says what was given, the limit, and what to do.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

#: A model runs, but does not give what was recorded of it: no error of the program's.
NOT_AS_RECORDED = 5


class EdgeError(Exception):
    """Base of every error this package raises on purpose; the command line prints it without a traceback."""

    exit_code = 1


class ConfigError(EdgeError, ValueError):
    """The user asked for something impossible: an option, a message or a media file that cannot be used."""

    exit_code = 2


class ArtifactError(EdgeError):
    """A file of a checkpoint or of a model folder is missing, damaged, or from another export."""

    exit_code = 3


CapacityReason: TypeAlias = Literal["context", "media", "memory", "queue", "disk"]


class CapacityError(EdgeError):
    """The request is valid but does not fit this model or this machine.

    Args:
        message: The line for the user.
        reason: What it does not fit: the context length, the limits of one image or recording, this machine's memory,
            the request queue, or the disk.
    """

    exit_code = 4

    def __init__(self, message: str, *, reason: CapacityReason = "memory") -> None:
        super().__init__(message)
        self.reason = reason
