"""What was measured of the groups, in a file that grows with every group, so that a measurement can go on later."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, replace
from pathlib import Path

from edgephi.base.atomic_write import writing
from edgephi.base.errors import ConfigError
from edgephi.base.json_file import decode, read_json
from edgephi.base.output_file import staged_file


@dataclass(frozen=True, slots=True, kw_only=True)
class FormatLoss:
    """The mean KL to the checkpoint of each mode with a group in this format, in nats."""

    format: str
    kl: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupLoss:
    """A group, and what each format of it costs."""

    name: str
    formats: tuple[FormatLoss, ...]

    def of(self, format_: str) -> FormatLoss:
        """What this format costs."""
        return next(one for one in self.formats if one.format == format_)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """The groups that have been measured.

    Attributes:
        identity: sha256 of all that the figures depend on.
        modes: By the adapter that serves them.
        groups: As far as they are measured.
    """

    identity: str
    modes: tuple[str, ...] = ()
    groups: tuple[GroupLoss, ...] = ()

    def find(self, name: str) -> GroupLoss | None:
        """The group of this name; None where it is not measured yet."""
        return next((group for group in self.groups if group.name == name), None)

    def with_group(self, group: GroupLoss, modes: tuple[str, ...]) -> Sensitivity:
        """The record with one more group."""
        return replace(self, modes=modes, groups=(*self.groups, group))


def read_record(path: Path, identity: str) -> Sensitivity:
    """The record of a file; an empty one where there is none.

    Raises:
        ArtifactError: The file is damaged.
        ConfigError: It is of another measurement.
    """
    if not path.is_file():
        return Sensitivity(identity=identity)
    record = decode(Sensitivity, read_json(path), str(path))
    if record.identity != identity:
        raise ConfigError(
            f"{path}: was measured on another checkpoint, with other examples or other options; remove it, or keep "
            "this measurement elsewhere with --sensitivity"
        )
    return record


def save_record(path: Path, record: Sensitivity) -> None:
    """Write a record, whole or not at all.

    Raises:
        CapacityError: The disk is full.
        EdgeError: It cannot be written.
    """
    with writing(path), staged_file(path) as stream:
        stream.write(f"{json.dumps(dataclasses.asdict(record), indent=1)}\n".encode())
