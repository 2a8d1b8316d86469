"""Where the data of a suite lie in a folder, and what is missing."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from edgephi.base.errors import ArtifactError, ConfigError
from edgephi_evaluate.readers.items import items_file
from edgephi_evaluate.readers.rows import SUFFIXES

_CHUNK_BYTES = 1 << 22
#: BFCL's right answers have the names of its questions.
_ANSWERS = "possible_answer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """The data files of one suite.

    Attributes:
        folder: Where they are looked for.
        items: The file of items in the neutral form; None where the published form is used.
        parts: Names of parts with their files, in the published form; empty files where a part is missing.
    """

    folder: Path
    items: Path | None
    parts: tuple[tuple[str, tuple[Path, ...]], ...] = ()

    @property
    def all(self) -> tuple[Path, ...]:
        """Every data file."""
        return (self.items,) if self.items is not None else tuple(path for _, paths in self.parts for path in paths)

    def sha256(self) -> str:
        """Of the names and contents of all of them; media in files of their own are not read.

        Raises:
            ArtifactError: One cannot be read.
        """
        digest = hashlib.sha256()
        for path in self.all:
            digest.update(f"{path.relative_to(self.folder)}\0{file_sha256(path)}\n".encode())
        return digest.hexdigest()


def find_files(folder: Path, patterns: tuple[tuple[str, tuple[str, ...]], ...]) -> Files:
    """The files of a suite: items in the neutral form, or else the files of its parts.

    Args:
        folder: Of the suite.
        patterns: Name and patterns without suffix of each part. A pattern is matched at any depth.

    Raises:
        ConfigError: The folder is not there, or holds none of them.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder; `edgephi evaluate suites` says what each suite needs in --data")
    items = items_file(folder)
    if items is not None:
        return Files(folder=folder, items=items)
    parts = tuple((name, _matching(folder, wanted)) for name, wanted in patterns)
    if not any(paths for _, paths in parts):
        wanted = ", ".join(dict.fromkeys(pattern for _, one in patterns for pattern in one))
        raise ConfigError(f"{folder}: holds neither items.jsonl nor {wanted} (.jsonl, .tsv or .parquet)")
    return Files(folder=folder, items=None, parts=parts)


def _matching(folder: Path, patterns: tuple[str, ...]) -> tuple[Path, ...]:
    found: dict[Path, None] = {}
    for pattern in patterns:
        for suffix in SUFFIXES:
            found.update(dict.fromkeys(sorted(folder.rglob(f"{pattern}{suffix}"))))
    return tuple(path for path in found if path.parent.name != _ANSWERS)


def file_sha256(path: Path) -> str:
    """Of a file's bytes.

    Raises:
        ArtifactError: It cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                digest.update(chunk)
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror or error})") from error
    return digest.hexdigest()
