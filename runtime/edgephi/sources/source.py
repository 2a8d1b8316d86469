"""Sources of images and audio: a path or bytes, opened with one clear line when it cannot be."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, BinaryIO, Self, TypeAlias

from edgephi.base.errors import ConfigError

if TYPE_CHECKING:  # the command line imports this room before it knows what it needs
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

#: A path, the bytes of a file, an open binary file, a Pillow image, or uint8 [H, W, 3].
ImageSource: TypeAlias = "str | Path | bytes | bytearray | memoryview | BinaryIO | Image.Image | NDArray[np.uint8]"
#: A path, the bytes of a file, an open binary file, or (samples [n] or [n, channels], hertz).
AudioSource: TypeAlias = (
    "str | Path | bytes | bytearray | memoryview | BinaryIO | tuple[NDArray[np.floating | np.int16], float]"
)

_stderr_lock = Lock()
_LONGEST_NAME = 1024


class PipedMedia(str):
    """The path of a copy of what came through a pipe.

    Attributes:
        name: What the pipe is called.
    """

    __slots__ = ("name",)
    name: str

    @classmethod
    def of(cls, path: str, name: str) -> Self:
        """The copy at `path`."""
        made = cls(path)
        made.name = name
        return made


def media_name(source: object, kind: str) -> str:
    """How messages call a source: a path as given, `image of 1,234 bytes`, or `audio array`."""
    if isinstance(source, PipedMedia):
        return source.name
    if isinstance(source, str | Path):
        return _shortened(str(source))
    if isinstance(source, bytes):
        return f"{kind} of {len(source):,} bytes"
    return f"{kind} array" if kind == "audio" else kind


def _shortened(path: str) -> str:
    """A path for a message of one line; its two ends where it is longer than any file's."""
    return path if len(path) <= _LONGEST_NAME else f"{path[:60]}...{path[-40:]}"


def open_media(source: str | Path | bytes, kind: str) -> BinaryIO:
    """Open a file, or bytes as if they were one. The caller closes it.

    Raises:
        ConfigError: No such file, a directory, a pipe or device, not readable, or empty. The message names the source.
    """
    name = media_name(source, kind)
    if isinstance(source, bytes):
        if not source:
            raise ConfigError(f"{name}: empty; give the content of a whole file")
        return io.BytesIO(source)
    if source == "":
        raise ConfigError(f"the path of the {kind} is empty; give the path of a file")
    try:
        _check_regular(os.stat(source), name, kind)  # first: opening a pipe that nobody writes to would wait forever
        stream = open(source, "rb")  # noqa: SIM115 - the caller's `with` closes it
    except FileNotFoundError:
        raise ConfigError(f"{name}: no such file; check the path of the {kind}") from None
    except ConfigError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"{name[:200]!r}: cannot be opened ({reason}); check the path of the {kind}") from None
    if os.fstat(stream.fileno()).st_size == 0:
        stream.close()
        raise ConfigError(f"{name}: empty file; record or copy the {kind} again")
    return stream


def _check_regular(status: os.stat_result, name: str, kind: str) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise ConfigError(f"{name}: a directory; give one {kind} file")
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(f"{name}: a pipe or device; save the {kind} to a file first, or hand in its bytes")


@contextmanager
def silence_library_output() -> Iterator[None]:
    """Around a decoder written in C that comments on damage on descriptor 2, where no option reaches it.

    What other threads write to standard error meanwhile is lost too, so only the formats that need it are decoded so.
    """
    with _stderr_lock:
        try:
            kept = os.dup(2)
        except OSError:  # a service without standard error has none to keep clean
            kept = None
        try:
            if kept is not None:
                with open(os.devnull, "wb") as nowhere:
                    os.dup2(nowhere.fileno(), 2)
            yield
        finally:
            if kept is not None:
                os.dup2(kept, 2)
                os.close(kept)
