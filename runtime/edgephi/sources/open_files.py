"""The other things that hold a file's bytes: buffers, and binary files that a program has open."""

from __future__ import annotations

import io
import os
from typing import Any

from edgephi.base.errors import ConfigError
from edgephi.sources.data_url import is_data_address, read_data_address


def plain_source(source: Any, kind: str) -> Any:
    """A buffer, an open file or a `data:` address as the bytes that it holds; everything else as it is.

    An open file is read from its beginning if it can go there, and left where it was: a buffer that was just written
    to stands at its end.

    Args:
        source: Of an image or of audio.
        kind: What messages call it.

    Raises:
        ConfigError: A file that is closed, open as text, or cannot be read, or an address with damaged data.
    """
    if isinstance(source, str) and is_data_address(source) and not os.path.lexists(source):
        return read_data_address(source, kind)
    if isinstance(source, bytearray | memoryview):
        return bytes(source)
    if not callable(getattr(source, "read", None)):
        return source
    try:
        content = _content(source)
    except (OSError, ValueError) as error:  # ValueError: closed
        raise ConfigError(f"{kind} of an open file: cannot be read ({error})") from None
    if not isinstance(content, bytes):
        raise ConfigError(f"{kind} of an open file: it is open as text; open it with mode 'rb'")
    return content


def _content(file: Any) -> object:
    if not file.seekable():
        return file.read()
    position = file.tell()
    file.seek(0)
    try:
        return file.read()
    finally:
        file.seek(position, io.SEEK_SET)
