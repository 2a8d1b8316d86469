"""Where a picture or a clip comes from: a path or bytes, opened with one clear line when it cannot be.

Owns the checks on files and the names used in messages. Knows nothing about formats.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import BinaryIO

from edgephi.errors import ConfigError


def media_name(source: object, kind: str) -> str:
    """How messages call a source: a path as given, `picture of 1,234 bytes`, or `audio array`."""
    if isinstance(source, str | Path):
        return str(source)
    if isinstance(source, bytes):
        return f"{kind} of {len(source):,} bytes"
    return f"{kind} array" if kind == "audio" else kind


def open_media(source: str | Path | bytes, kind: str) -> BinaryIO:
    """Open a file, or bytes as if they were one. The caller closes it.

    Raises:
        ConfigError: No such file, a directory, not readable, or empty. The message names the source.
    """
    name = media_name(source, kind)
    if isinstance(source, bytes):
        if not source:
            raise ConfigError(f"{name}: empty; give the content of a whole file")
        return io.BytesIO(source)
    if source == "":
        raise ConfigError(f"the path of the {kind} is empty; give the path of a file")
    try:
        stream = open(source, "rb")  # noqa: SIM115 - the caller's `with` closes it
    except FileNotFoundError:
        raise ConfigError(f"{name}: no such file; check the path of the {kind}") from None
    except IsADirectoryError:
        raise ConfigError(f"{name}: a directory; give one {kind} file") from None
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"{name[:200]!r}: cannot be opened ({reason}); check the path of the {kind}") from None
    if os.fstat(stream.fileno()).st_size == 0:
        stream.close()
        raise ConfigError(f"{name}: empty file; record or copy the {kind} again")
    return stream
