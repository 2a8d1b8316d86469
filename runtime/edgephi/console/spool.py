"""Media that come through standard input or a pipe: copied to a file without a name, which can be read twice."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import IO, BinaryIO

import click

from edgephi.base.errors import ConfigError, EdgeError
from edgephi.sources.source import PipedMedia

STDIN = "-"
_BLOCK_BYTES = 1 << 20


def called(given: str) -> str:
    """How a file is called in messages and in the names of outputs."""
    return "stdin" if given == STDIN else given


def check_stdin(media: Sequence[str], prompt: str = "") -> None:
    """Raise click.UsageError when more than one thing should come from standard input, or nothing can."""
    count = [*media, prompt].count(STDIN)
    if count > 1:
        raise click.UsageError(f"`-` is given {count} times, but stdin can be read only once; give paths instead")
    if STDIN not in media:
        return
    if sys.stdin is None or sys.stdin.closed:
        raise click.UsageError("stdin is closed; give the path of a file instead of `-`")
    if sys.stdin.isatty():
        raise click.UsageError("stdin is a terminal; pipe a file into the command, or give its path instead of `-`")


@contextmanager
def spooled(paths: Sequence[str], kind: str) -> Iterator[list[str]]:
    """The same paths, those of pipes replaced by copies that last for the block.

    Args:
        paths: `-` is standard input; what is no pipe stays as it is, even if it is not there.
        kind: `audio` or `image`, for messages.

    Raises:
        ConfigError: A pipe that cannot be read, or through which nothing came.
        EdgeError: Its copy does not fit on the disk.
    """
    with ExitStack() as stack:
        yield [_readable(path, kind, stack) for path in paths]


def _readable(path: str, kind: str, stack: ExitStack) -> str:
    if path == STDIN:
        if (own := _own_file(sys.stdin.buffer)) is not None:
            return PipedMedia.of(own, called(path))
        return _copied(sys.stdin.buffer, called(path), kind, stack)
    if not _is_pipe(path):
        return path
    try:
        with open(path, "rb") as pipe:  # waits for somebody who writes to it
            return _copied(pipe, path, kind, stack)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); check the pipe of the {kind}") from None


def _own_file(stream: IO[bytes]) -> str | None:
    """A path of the file that standard input was redirected from; None if it is none, or was begun to be read."""
    try:
        descriptor = stream.fileno()
        path = f"/proc/self/fd/{descriptor}"
        is_whole = stat.S_ISREG(os.fstat(descriptor).st_mode) and os.lseek(descriptor, 0, os.SEEK_CUR) == 0
    except OSError:
        return None
    return path if is_whole and os.access(path, os.R_OK) else None


def _is_pipe(path: str) -> bool:
    try:
        return stat.S_ISFIFO(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def _copied(pipe: IO[bytes], name: str, kind: str, stack: ExitStack) -> PipedMedia:
    folder = os.environ.get("TMPDIR", "the folder for temporary files")
    try:
        copy: BinaryIO = stack.enter_context(tempfile.TemporaryFile(buffering=0))  # noqa: SIM115 - as the line says
        folder = tempfile.gettempdir()
        total = _copy(pipe, copy)
    except OSError as error:
        raise EdgeError(
            f"{name}: its copy cannot be kept in {folder} ({error.strerror}); "
            "set TMPDIR to a folder with room, or save it to a file first"
        ) from None
    if total == 0:
        raise ConfigError(f"{name}: nothing came through it; check the command that writes the {kind}")
    return PipedMedia.of(f"/proc/self/fd/{copy.fileno()}", name)


def _copy(pipe: IO[bytes], copy: BinaryIO) -> int:
    """Bytes copied. Each read ends with what there is, so that a signal is answered at once."""
    read, total = getattr(pipe, "read1", pipe.read), 0
    while block := read(_BLOCK_BYTES):
        rest = memoryview(block)
        while rest:  # an unbuffered file may take less than it is given
            rest = rest[copy.write(rest) :]
        total += len(block)
    return total
