"""Where transcripts are written: a file, or a folder with one for each recording.

Owns their names and that a file is whole or not there. Knows nothing about formats.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from edgephi.errors import ConfigError, EdgeError
from edgephi.staging import staged_file
from edgephi.transcription.kinds import KINDS


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
        """The paths; a folder for several recordings is made if it is not there.

        Raises:
            ConfigError: A path that cannot be written, would overwrite a recording, or serves two of them.
        """
        target = Path(output)
        if target.is_dir() or len(files) > 1 or output.endswith(os.sep):
            _make_folder(target)
            paths = {file: target / f"{Path(file).stem}.{kind}" for file in files}
        else:
            if not target.parent.is_dir():
                raise ConfigError(f"{target}: its folder does not exist; make it first")
            paths = {files[0]: target}
        taken: dict[Path, str] = {}
        for file, path in paths.items():
            if path in taken:
                raise ConfigError(f"{taken[path]} and {file} would both be written to {path}; transcribe them apart")
            if path.exists() and any(Path(other).exists() and path.samefile(other) for other in files):
                raise ConfigError(f"{path} is a recording to be transcribed; give another --output")
            taken[path] = file
        return cls(paths)

    def write(self, file: str, content: str) -> Path:
        """Replace the recording's file in one step; the path.

        Raises:
            EdgeError: It cannot be written. What was there before is untouched.
        """
        path = self.paths[file]
        try:
            with staged_file(path) as stream:
                stream.write(content.encode("utf-8", errors="backslashreplace"))
        except OSError as error:
            raise EdgeError(f"{path}: cannot be written ({error.strerror}); choose another --output") from error
        return path


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be made a folder ({error.strerror}); choose another --output") from None
