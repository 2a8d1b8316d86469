"""Which wheels a device needs: pip resolves them for it, and what nothing there imports is left out."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import requires
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from edgephi.base.errors import ConfigError, EdgeError
from edgephi_pack.app.lock import Lock, LockedPackage
from edgephi_pack.app.pip import pip_install
from edgephi_pack.app.target import Target

#: Requirements that no code of a device imports: downloads, tools that change graphs, a parser of C declarations.
_NOT_IMPORTED = {
    ("tokenizers", "huggingface-hub"),
    ("onnxruntime", "flatbuffers"),
    ("onnxruntime", "protobuf"),
    ("cffi", "pycparser"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Resolved:
    """A package as pip found it."""

    package: LockedPackage
    requires: tuple[Requirement, ...]


def own_requirements(target: Target, extras: Iterable[str]) -> list[str]:
    """What edgephi requires on a device, with these of its extras."""
    wanted = ["", *extras]
    found = [Requirement(line) for line in requires("edgephi") or []]
    return [_plain(one) for one in found if any(_holds(one, target, extra) for extra in wanted)]


def resolve(requirements: Sequence[str], target: Target) -> Lock:
    """The packages that satisfy these requirements on another machine.

    Args:
        requirements: As pip reads them.
        target: The machine.

    Raises:
        EdgeError: pip finds no such set.
        ConfigError: The set depends on the Python that resolves it.
    """
    with tempfile.TemporaryDirectory() as unused:
        options = ["--dry-run", "--ignore-installed", "--report", "-", "--target", unused, *target.pip_options()]
        report = pip_install([*options, *requirements])
    found = {str(one.package.name): one for one in _reported(report)}
    roots = [canonicalize_name(Requirement(line).name) for line in requirements]
    names = _needed(roots, found, target)
    return Lock(target=target, packages=tuple(sorted(found[name].package for name in names)))


def _reported(report: str) -> Iterator[_Resolved]:
    entries: list[dict[str, Any]] = json.loads(report)["install"]
    for entry in entries:
        metadata = entry["metadata"]
        sha256 = entry["download_info"].get("archive_info", {}).get("hashes", {}).get("sha256")
        if sha256 is None:
            raise EdgeError(f"pip states no sha256 of {metadata['name']}; use an index or a folder of wheels")
        yield _Resolved(
            package=LockedPackage(name=canonicalize_name(metadata["name"]), version=metadata["version"], sha256=sha256),
            requires=tuple(Requirement(line) for line in metadata.get("requires_dist", [])),
        )


def _needed(roots: Sequence[str], found: dict[str, _Resolved], target: Target) -> set[str]:
    """Names of what is reached from the roots by requirements that hold on the target."""
    needed: set[str] = set()
    waiting = [(name, "") for name in roots]
    seen = set(waiting)
    while waiting:
        name, extra = waiting.pop()
        if name not in found:
            raise ConfigError(
                f"{name} is required with Python {target.python} and not with the one that runs edgephi-pack; "
                "run it with the device's"
            )
        needed.add(name)
        for one in found[name].requires:
            other = canonicalize_name(one.name)
            if (name, other) in _NOT_IMPORTED or not _holds(one, target, extra):
                continue
            fresh = {(other, wanted) for wanted in ("", *one.extras)} - seen
            seen |= fresh
            waiting += sorted(fresh)
    return needed


def _holds(requirement: Requirement, target: Target, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate(target.markers(extra))


def _plain(requirement: Requirement) -> str:
    """Without its marker, which pip would evaluate for the machine that it runs on."""
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return f"{requirement.name}{extras}{requirement.specifier}"
