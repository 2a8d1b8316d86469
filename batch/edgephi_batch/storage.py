"""Files of the input: on this machine by their path, elsewhere by a URI such as s3://bucket/folder, through pyarrow."""

from __future__ import annotations

import io
import os
import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from edgephi.base.errors import ConfigError, EdgeError

if TYPE_CHECKING:
    from collections.abc import Iterator

_URI = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")


def is_uri(place: str) -> bool:
    """Whether a place is named by a URI and not by a path."""
    return _URI.match(place) is not None


def resolve(place: str, folder: str) -> str:
    """The place of a file that the input names: as it is, or in `folder` where it is relative."""
    if is_uri(place) or os.path.isabs(place):
        return place
    return f"{folder.rstrip('/')}/{place}" if is_uri(folder) else os.path.join(folder, place)


def parent(place: str) -> str:
    """The folder of a file."""
    return place.rpartition("/")[0] if is_uri(place) else str(Path(place).absolute().parent)


def is_folder(place: str) -> bool:
    """Whether it is a folder.

    Raises:
        ConfigError: There is nothing at this place, or it cannot be reached.
    """
    with _reaching(place):
        if not is_uri(place):
            return _is_there(os.path.exists(place)) and os.path.isdir(place)
        arrow_fs = _arrow_fs()
        filesystem, path = arrow_fs.FileSystem.from_uri(place)
        kind = filesystem.get_file_info(path).type
        return _is_there(kind != arrow_fs.FileType.NotFound) and bool(kind == arrow_fs.FileType.Directory)


def files_below(folder: str) -> list[str]:
    """The files of a folder and of those in it, by their paths from it, sorted. Hidden ones are left out.

    Raises:
        ConfigError: It cannot be read.
    """
    with _reaching(folder):
        if not is_uri(folder):
            names = [
                os.path.relpath(os.path.join(root, name), folder)
                for root, _, found in os.walk(folder, onerror=_raise)
                for name in found
            ]
        else:
            arrow_fs = _arrow_fs()
            filesystem, path = arrow_fs.FileSystem.from_uri(folder)
            found = filesystem.get_file_info(arrow_fs.FileSelector(path, recursive=True))
            names = [os.path.relpath(one.path, path) for one in found if one.is_file]
    return sorted(name for name in names if not any(part.startswith(".") for part in Path(name).parts))


@contextmanager
def opened(place: str) -> Iterator[BinaryIO]:
    """A file for reading, which can seek.

    Raises:
        ConfigError: It is not there or cannot be read.
    """
    with _reaching(place):
        if is_uri(place):
            filesystem, path = _arrow_fs().FileSystem.from_uri(place)
            stream = io.BufferedReader(filesystem.open_input_file(path))  # pyarrow's own file reads no lines
        else:
            stream = open(place, "rb")  # noqa: SIM115 - closed below
        with stream:
            yield stream


@contextmanager
def _reaching(place: str) -> Iterator[None]:
    try:
        yield
    except EdgeError:
        raise
    except (OSError, ValueError) as error:  # pyarrow's own errors are subclasses of these
        why = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise ConfigError(f"{place}: cannot be read ({why}); check the path") from None


def _is_there(found: bool) -> bool:
    if not found:
        raise FileNotFoundError("no such file or folder")
    return True


def _raise(error: OSError) -> None:
    raise error


def _arrow_fs() -> Any:
    try:
        from pyarrow import fs  # noqa: PLC0415 - local files are read without it
    except ImportError:
        raise EdgeError('files that are named by a URI need pyarrow; run: pip install "edgephi[batch]"') from None
    return fs
