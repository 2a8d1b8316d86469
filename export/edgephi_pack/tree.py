"""The files of a release: the model folder, the probe's record, an application tree, and the programs that start it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgephi.base.errors import ConfigError
from edgephi.inspection.probe_record import RECORD_NAME, read_record

PROGRAM = "bin/edgephi"
PROBE_COMMAND = (PROGRAM, "probe", "model", "--cases", "probe")
_PLAIN, _PROGRAM = 0o444, 0o555
#: Starts the release's own application tree; -I keeps out whatever else the device has, -B writes nothing.
_OWN = """#!/usr/bin/python3 -IB
import sys
from pathlib import Path
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "app"))
from edgephi.__main__ import program
program()
"""
_DEVICES = '#!/bin/sh\nexec edgephi "$@"\n'


@dataclass(frozen=True, slots=True)
class TreeFile:
    """A file of the release, in a folder of the host or as bytes; the same content each time it is read."""

    path: str
    mode: int
    source: Path | bytes

    def pieces(self, cuts: tuple[int, ...]) -> Iterator[bytes]:
        """The content, cut at these offsets, the last of which is the size."""
        start = 0
        if isinstance(self.source, bytes):
            for stop in cuts:
                yield self.source[start:stop]
                start = stop
            return
        with self.source.open("rb") as stream:
            for stop in cuts:
                yield stream.read(stop - start)
                start = stop

    @property
    def size(self) -> int:
        """In bytes."""
        return len(self.source) if isinstance(self.source, bytes) else self.source.stat().st_size


def release_tree(model: Path, probe: Path, app: Path | None) -> tuple[TreeFile, ...]:
    """Every file of a release, in the order of their paths.

    Args:
        model: The model folder.
        probe: The folder of `cases.json`; of it only the record and its media are taken.
        app: A folder made by `pip install --target`; None where the device has `edgephi` installed.

    Raises:
        ArtifactError: The record or its media are damaged.
        ConfigError: A folder is missing, or has links.
    """
    record = read_record(probe)
    media = {one.name for case in record.cases for one in (*case.request.images, *case.request.audio)}
    files = [*_below(model, "model"), TreeFile(PROGRAM, _PROGRAM, (_DEVICES if app is None else _OWN).encode())]
    files += [TreeFile(f"probe/{name}", _PLAIN, probe / name) for name in sorted({RECORD_NAME, *media})]
    if app is not None:
        files += [file for file in _below(app, "app") if "__pycache__" not in file.path]
    return tuple(sorted(files, key=lambda file: file.path))


def _below(folder: Path, room: str) -> Iterator[TreeFile]:
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder; give the one that becomes {room}/ of the release")
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            raise ConfigError(f"{path}: is a link; a release has regular files only, put the file in its place")
        if path.is_file():
            yield TreeFile(f"{room}/{path.relative_to(folder).as_posix()}", _PLAIN, path)
