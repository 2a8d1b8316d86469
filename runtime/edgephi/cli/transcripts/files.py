"""Where transcripts are written: a file, or a folder with one for each recording."""

from __future__ import annotations

import errno
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from edgephi.base.atomic_write import FULL, check_space
from edgephi.base.errors import CapacityError, ConfigError, EdgeError
from edgephi.base.output_file import (
    check_output_file,
    check_text_output,
    ignores_case,
    is_special,
    real_path,
    reason,
    staged_file,
)

#: The formats of transcripts, by the extensions of their files.
KINDS = ("txt", "srt", "vtt", "json")
#: What counts as an extension: `v1.2` and `Mr. Smith` have none.
_EXTENSION = re.compile(r"\.(?=\d*[A-Za-z])[A-Za-z0-9]{1,8}")
_STDIN = "-"
_LEAST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Destination:
    """A path for each recording, as it was named."""

    paths: dict[str, Path]

    @staticmethod
    def kind_of(output: str | None) -> str | None:
        """The format that the name of a file asks for; None when it does not say."""
        suffix = "" if output is None else Path(output).suffix.lower().removeprefix(".")
        return suffix if suffix in KINDS else None

    @classmethod
    def checked(cls, output: str, files: tuple[str, ...], kind: str) -> Self:
        """The paths. A name without an extension is a folder, unless a file or device has it; it is made when needed.

        Raises:
            ConfigError: A path that cannot be written, would overwrite a recording, or serves two of them; an
                extension of another format; an existing file that is no text.
            CapacityError: The disk is full.
        """
        target = Path(output)
        _check_no_recording(target, files)
        try:
            is_folder = _is_folder(output, files, kind)
        except ConfigError:
            raise
        except (OSError, ValueError) as error:
            raise ConfigError(f"{output}: cannot be written ({reason(error)}); choose another --output") from None
        paths = {file: target / f"{_stem(file)}.{kind}" for file in files} if is_folder else {files[0]: target}
        if is_folder:
            _check_folder(target, [path.name for path in paths.values()])
        _check_distinct(paths)
        for path in paths.values():
            _check_no_recording(path, files)
            if target.is_dir() or not is_folder:
                check_output_file(path)
            check_text_output(path)
        return cls(paths)

    def place(self, file: str) -> Path:
        """The recording's path, in a folder that is there now.

        Raises:
            EdgeError: The folder cannot be made.
        """
        path = self.paths[file]
        try:
            if not path.parent.is_dir():
                path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EdgeError(f"{path}: its folder cannot be made ({reason(error)})") from error
        return path

    def write(self, file: str, content: str) -> Path:
        """Replace the recording's file in one step; the path.

        Raises:
            CapacityError: The disk is full. What was there before is untouched.
            EdgeError: It cannot be written. What was there before is untouched.
        """
        path = self.place(file)
        try:
            with staged_file(path) as stream:
                stream.write(content.encode("utf-8", errors="backslashreplace"))
        except OSError as error:
            if error.errno in FULL:
                full = CapacityError(f"{path}: cannot be written, the disk is full; free some space", reason="disk")
                raise full from error
            raise EdgeError(f"{path}: cannot be written ({reason(error)})") from error
        return path


def _stem(file: str) -> str:
    return "stdin" if file == _STDIN else Path(file).stem


def _is_folder(output: str, files: tuple[str, ...], kind: str) -> bool:
    """Whether the name stands for a folder. Raises ConfigError for a name that cannot serve, OSError as the system."""
    target, several = Path(output), f"there are {len(files)} recordings; give the name of a folder"
    if not output:
        raise ConfigError("--output is empty; give the name of a file or a folder")
    mode = os.stat(target).st_mode if target.exists() else 0
    if stat.S_ISDIR(mode):
        return True
    if mode and (len(files) > 1 or output.endswith(os.sep)):
        raise ConfigError(f"{output} is one file, and {several}" if len(files) > 1 else f"{output}: is not a folder")
    if mode and is_special(target):
        return False
    suffix = target.suffix if _EXTENSION.fullmatch(target.suffix) else ""
    if not suffix or output.endswith(os.sep):
        return not mode
    named = suffix.lower().removeprefix(".")
    if named not in KINDS:
        raise ConfigError(f"{output}: {suffix} is none of {', '.join(KINDS)}; give the file one of these extensions")
    if len(files) > 1:
        raise ConfigError(f"{output} names one file, and {several}")
    if named != kind:
        raise ConfigError(f"{output} and --format {kind} contradict each other; give the file the extension .{kind}")
    return False


def _check_distinct(paths: dict[str, Path]) -> None:
    """No file for two recordings, whatever names lead to it; `A.wav` and `a.mp3` share one where case is ignored."""
    taken: dict[str, str] = {}
    for file, path in paths.items():
        key = os.fspath(_known(path)).casefold()
        if key in taken and (_known(paths[taken[key]]) == _known(path) or ignores_case(_existing(path.parent))):
            raise ConfigError(f"{taken[key]} and {file} would both be written to {path}; transcribe them apart")
        taken[key] = file


def _known(path: Path) -> Path:
    try:
        return real_path(path)
    except (OSError, ValueError):
        return path


def _check_no_recording(path: Path, files: tuple[str, ...]) -> None:
    """Whatever name leads to it: samefile knows hard links, symbolic ones, mounts and case."""
    if os.path.isfile(path) and any(os.path.exists(file) and os.path.samefile(path, file) for file in files):
        raise ConfigError(f"{path} is a recording to be transcribed; give another --output")


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    place = folder.absolute()
    while not os.path.lexists(place) and place != place.parent:
        place = place.parent
    return place


def _check_folder(folder: Path, names: list[str]) -> None:
    """Refuse a folder that could not be made or written to, and names that are too long for it."""
    try:
        place = _existing(folder)
        ignores_case(place)  # makes a file for a moment
        longest = os.statvfs(place).f_namemax
        for name in (*folder.parts, *names):
            if len(os.fsencode(name)) > longest:
                raise OSError(errno.ENAMETOOLONG, f"{os.strerror(errno.ENAMETOOLONG)}: {name[:40]}...")
    except (OSError, ValueError) as error:
        raise ConfigError(f"{folder}: cannot be a folder of outputs ({reason(error)}); choose another") from None
    check_space(place / "transcript", _LEAST_BYTES, what="the output")
