"""`components.json`: the packages of an application tree with their licences, for the bill of materials."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from edgephi.base.errors import ArtifactError
from edgephi.base.json_file import decode, read_json
from edgephi_pack.app.target import Target

COMPONENTS_NAME = "components.json"
_MAKE = "; give the folder that `edgephi-pack app` made"


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """A package.

    Attributes:
        name: Normalized.
        version: Its version.
        purl: Its package URL.
        sha256: Of its wheel; None for what was copied from this host.
        licence: An SPDX expression.
        licence_files: In the folder `licences`.
    """

    name: str
    version: str
    purl: str
    sha256: str | None
    licence: str
    licence_files: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Components:
    """The content of `components.json`."""

    target: Target
    components: tuple[Component, ...]

    def to_json(self) -> str:
        """The file's text."""
        return json.dumps(dataclasses.asdict(self), indent=1, sort_keys=True) + "\n"


def read_components(folder: Path) -> Components:
    """Read the components of an application folder.

    Raises:
        ArtifactError: The file is missing or malformed.
    """
    path = folder / COMPONENTS_NAME
    if not path.is_file():
        raise ArtifactError(f"{path}: missing{_MAKE}")
    return decode(Components, read_json(path, _MAKE), str(path))
