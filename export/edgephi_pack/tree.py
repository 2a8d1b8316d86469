"""The files of a release: the model folder, the probe's record, an application tree, and the programs that start it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from edgephi.base.errors import ConfigError
from edgephi.bundle.bundle import Bundle
from edgephi.inspection.probe_record import RECORD_NAME, read_record
from edgephi_pack.about.facts import AboutFacts
from edgephi_pack.about.provenance import provenance
from edgephi_pack.about.sbom import sbom
from edgephi_pack.app.components import Components, read_components
from edgephi_pack.app.tree import APP, LICENCES, LOCK_NAME

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

    def read(self, offset: int, num_bytes: int) -> bytes:
        """A part of the content."""
        if isinstance(self.source, bytes):
            return self.source[offset : offset + num_bytes]
        with self.source.open("rb") as stream:
            stream.seek(offset)
            return stream.read(num_bytes)

    @property
    def size(self) -> int:
        """In bytes."""
        return len(self.source) if isinstance(self.source, bytes) else self.source.stat().st_size


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseParts:
    """What a release is packed from.

    Attributes:
        model: The model folder.
        probe: The folder of `cases.json`; of it only the record and its media are taken.
        app: The folder of `edgephi-pack app`; None where the device has `edgephi` installed.
        model_licence: A file with the text of the model's licence.
        name: Of the product.
        version: For people.
        created: UTC.
    """

    model: Path
    probe: Path
    app: Path | None
    model_licence: Path
    name: str
    version: str
    created: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseTree:
    """Every file of a release in the order of their paths, and what is in its application tree."""

    files: tuple[TreeFile, ...]
    components: Components | None


def release_tree(parts: ReleaseParts) -> ReleaseTree:
    """The files of a release.

    Raises:
        ArtifactError: The model, the record, its media or the application folder are damaged.
        ConfigError: A folder or the licence is missing, or a folder has links.
    """
    record = read_record(parts.probe)
    media = {one.name for case in record.cases for one in (*case.request.images, *case.request.audio)}
    program = _DEVICES if parts.app is None else _OWN
    files = [*_below(parts.model, "model"), TreeFile(PROGRAM, _PROGRAM, program.encode())]
    files += [TreeFile(f"probe/{name}", _PLAIN, parts.probe / name) for name in sorted({RECORD_NAME, *media})]
    components = None
    if parts.app is not None:
        components = read_components(parts.app)
        files += _below(parts.app / APP, "app")
        files += _below(parts.app / LICENCES, "licences")
        files.append(TreeFile("about/app.lock", _PLAIN, parts.app / LOCK_NAME))
    files += _about(parts, components)
    return ReleaseTree(files=tuple(sorted(files, key=lambda file: file.path)), components=components)


def _about(parts: ReleaseParts, components: Components | None) -> Iterator[TreeFile]:
    with closing(Bundle(parts.model)) as bundle:
        facts = AboutFacts(
            name=parts.name,
            version=parts.version,
            created=parts.created,
            manifest=bundle.manifest,
            manifest_sha256=bundle.manifest_sha256,
            model_licence=_licence_text(parts.model_licence),
            components=components,
        )
    yield TreeFile("licences/MODEL.txt", _PLAIN, facts.model_licence.encode())
    yield TreeFile("about/sbom.cdx.json", _PLAIN, sbom(facts))
    yield TreeFile("about/provenance.json", _PLAIN, provenance(facts))


def _licence_text(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read as text ({error}); give the model's licence") from error
    if not text.strip():
        raise ConfigError(f"{path}: is empty; give the text of the model's licence")
    return text


def _below(folder: Path, room: str) -> Iterator[TreeFile]:
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder; give the one that becomes {room}/ of the release")
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            raise ConfigError(f"{path}: is a link; a release has regular files only, put the file in its place")
        if path.is_file():
            yield TreeFile(f"{room}/{path.relative_to(folder).as_posix()}", _PLAIN, path)
