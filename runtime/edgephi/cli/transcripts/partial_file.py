"""A transcript so far, on disk as it comes, so that a power cut loses seconds and not hours.

Beside `talk.srt` stands `talk.srt.partial` until the transcript is complete: JSON Lines, the first of which says what
they were made from, every other one window. A line that was cut off by the end of a process does not count.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from edgephi.base.errors import ArtifactError, ConfigError
from edgephi.base.file_lock import lock_alone
from edgephi.base.output_file import is_special, make_alike, may_stage, real_path, reason
from edgephi.cli.transcripts.origin import Origin
from edgephi.transcription.transcript import Segment

_SUFFIX = ".partial"
_SYNC_S = 5.0
_MOST_NAME_BYTES = 255 - len(_SUFFIX)
_BEGINNING = b'{"edgephi_partial": '


@dataclass(frozen=True, slots=True, kw_only=True)
class _Window:
    """A line: the segments of a window, and the seconds of work up to there."""

    elapsed_s: float
    segments: tuple[Segment, ...]


def partial_path(output: Path) -> Path | None:
    """The partial file's path; None where the output is no file, or its folder takes no other: there is none then."""
    try:
        if is_special(output):
            return None
        target = real_path(output)
        if os.path.lexists(target) and not may_stage(target):
            return None
    except (OSError, ValueError):
        return None
    data = os.fsencode(target.name)
    if len(data) > _MOST_NAME_BYTES:
        return target.with_name(f"{target.name[:40]}-{hashlib.sha256(data).hexdigest()[:12]}{_SUFFIX}")
    return target.with_name(target.name + _SUFFIX)


def why_no_partial(output: Path) -> str | None:
    """A remark on a file that an interruption would lose; None where there is nothing to say."""
    if partial_path(output) is not None or is_special(output):
        return None
    return f"{output.parent}: no file can be made in it, so nothing is kept for --resume"


def check_no_partial(output: Path) -> None:
    """Refuse to begin anew where an earlier run can be gone on with.

    Raises:
        ConfigError: There is a partial file.
    """
    path = partial_path(output)
    if path is None or not os.path.lexists(path):
        return
    if not path.is_file():
        raise ConfigError(f"{path}: exists and is no partial transcript; move it away, or choose another --output")
    windows = _read(path)[1]
    if windows:
        reached_s = max((segment.end_s for window in windows for segment in window.segments), default=0.0)
        raise ConfigError(
            f"{path}: an interrupted run left this; it reaches {int(reached_s) // 60}:{int(reached_s) % 60:02}. "
            "--resume goes on from it, or delete it to begin anew"
        )


def is_finished(output: Path, file: str) -> bool:
    """Whether an output is newer than its recording and has no partial file."""
    path = partial_path(output)
    with suppress(OSError):
        return path is not None and not path.exists() and output.stat().st_mtime >= os.stat(file).st_mtime
    return False


def remove_partial(output: Path) -> None:
    """The transcript is complete and on the disk."""
    path = partial_path(output)
    if path is not None and path.exists():
        _sync_folder(path.parent)  # the output's name first
        with suppress(OSError):
            path.unlink(missing_ok=True)


class Partial:
    """The partial file of one recording, open and locked; a `with` block closes it.

    Args:
        path: None keeps nothing.
        output: Whose mode and owner it gets.
        origin: What the transcript is made from.

    Raises:
        ConfigError: It is of another origin, no partial file, in use, or cannot be written.
    """

    def __init__(self, path: Path | None, output: Path, origin: Origin) -> None:
        self._path = path
        self._descriptor = -1
        self._synced_s = time.monotonic()
        self._windows: tuple[_Window, ...] = ()
        self._is_ours = False
        if path is None:
            return
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            lock_alone(self._descriptor, f"{path}: another process is writing it; wait for it to end")
            self._begin(path, output, origin)
            self._is_ours = True
        except OSError as error:
            self.close()
            raise ConfigError(f"{path}: cannot be written ({reason(error)}); choose another --output") from None
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def num_windows(self) -> int:
        """How many windows are done already."""
        return len(self._windows)

    @property
    def segments(self) -> list[Segment]:
        """Theirs."""
        return [segment for window in self._windows for segment in window.segments]

    @property
    def elapsed_s(self) -> float:
        """The work they took."""
        return self._windows[-1].elapsed_s if self._windows else 0.0

    def add(self, segments: Sequence[Segment], elapsed_s: float) -> str | None:
        """Write a window; every few seconds it is made sure that it is on the disk. Why that failed, said once."""
        window = _Window(elapsed_s=elapsed_s, segments=tuple(segments))
        self._windows = (*self._windows, window)
        if self._descriptor < 0:
            return None
        try:
            self._write(json.dumps(asdict(window), ensure_ascii=False))
            if time.monotonic() - self._synced_s >= _SYNC_S:
                self.sync()
        except OSError as error:
            self.close()
            return f"{self._path}: cannot be written any more ({reason(error)})"
        return None

    def sync(self) -> None:
        """Make sure that all is on the disk."""
        if self._descriptor >= 0:
            os.fdatasync(self._descriptor)
            self._synced_s = time.monotonic()

    def close(self) -> None:
        """Leave it as it is, unless it holds nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor < 0 or self._path is None:
            return
        with suppress(OSError):
            if self._is_ours and not self._windows:
                self._path.unlink(missing_ok=True)
            os.fdatasync(descriptor)
        os.close(descriptor)

    def _begin(self, path: Path, output: Path, origin: Origin) -> None:
        found, self._windows, end = _read(path)
        if not self._windows:  # nothing to go on from
            found, end = None, 0
        if found is not None and (what := found.difference(origin)):
            raise ConfigError(f"{path}: made with another {what}; give the same again, or delete it to begin anew")
        if found is not None and origin.recording is None:
            raise ConfigError(f"{path}: a recording from a pipe cannot be gone on with; delete it to begin anew")
        os.ftruncate(self._descriptor, end)
        os.lseek(self._descriptor, 0, os.SEEK_END)
        if found is None:
            self._is_ours = True
            make_alike(self._descriptor, output)
            self._write(json.dumps(asdict(origin), ensure_ascii=False))
            self.sync()
            _sync_folder(path.parent)

    def _write(self, line: str) -> None:
        data = memoryview(f"{line}\n".encode(errors="surrogatepass"))
        while data:
            data = data[os.write(self._descriptor, data) :]


def _read(path: Path) -> tuple[Origin | None, tuple[_Window, ...], int]:
    """The origin that a partial file states, its windows up to the first line that is not whole, and their bytes.

    Raises:
        ConfigError: It is no partial file.
    """
    from edgephi.base.json_file import decode

    data = path.read_bytes()
    if data and not (data.startswith(_BEGINNING) or _BEGINNING.startswith(data)):
        raise ConfigError(f"{path}: exists and is no partial transcript; move it away, or choose another --output")
    origin: Origin | None = None
    windows: list[_Window] = []
    end = 0
    for line in data.splitlines(keepends=True):
        try:
            if not line.endswith(b"\n"):
                break
            raw = json.loads(line.decode(errors="surrogatepass"))
            if origin is None:
                origin = decode(Origin, raw, str(path))
            else:
                windows.append(decode(_Window, raw, str(path)))
        except (ValueError, ArtifactError):
            break
        end += len(line)
    return origin, tuple(windows), end


def _sync_folder(folder: Path) -> None:
    """So that a power cut does not lose the file's name."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
