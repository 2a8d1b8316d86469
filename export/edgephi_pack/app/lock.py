"""`app.lock`: every package of an application tree with the sha256 of its wheel, in the form that pip reads.

# edgephi-pack lock: aarch64, Python 3.11, glibc 2.31
click==8.3.0 --hash=sha256:...
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from edgephi.base.errors import ArtifactError
from edgephi_pack.app.target import Target

_HEAD = re.compile(r"# edgephi-pack lock: (\w+), Python ([\d.]+), glibc ([\d.]+)")
_GIVE = "give the app.lock that `edgephi-pack app` made"
_LINE = re.compile(r"([A-Za-z0-9._-]+)==(\S+) --hash=sha256:([0-9a-f]{64})")


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class LockedPackage:
    """A wheel, named by the sha256 of its file."""

    name: str
    version: str
    sha256: str

    @property
    def purl(self) -> str:
        """Its package URL."""
        return f"pkg:pypi/{self.name}@{self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """The content of `app.lock`."""

    target: Target
    packages: tuple[LockedPackage, ...]

    def text(self) -> str:
        """What the file has; pip takes it with --require-hashes."""
        target = self.target
        head = f"# edgephi-pack lock: {target.arch}, Python {target.python}, glibc {target.glibc}\n"
        return head + "".join(f"{one.name}=={one.version} --hash=sha256:{one.sha256}\n" for one in self.packages)


def read_lock(path: Path) -> Lock:
    """Read `app.lock`.

    Raises:
        ArtifactError: It is missing or malformed.
    """
    try:
        head, *lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ArtifactError(
            f"{path}: cannot be read ({error.strerror}); give the app.lock that `edgephi-pack app` made"
        ) from error
    except ValueError:  # no line, or no UTF-8
        raise ArtifactError(f"{path}: is no lock; {_GIVE}") from None
    first = _HEAD.fullmatch(head)
    matches = [(line, _LINE.fullmatch(line)) for line in lines if line.strip() and not line.startswith("#")]
    if first is None or not matches or any(match is None for _, match in matches):
        wrong = head if first is None else next((line for line, match in matches if match is None), "no packages")
        raise ArtifactError(f"{path}: {wrong[:80]!r} has no place in a lock; {_GIVE}")
    try:
        target = Target(arch=first[1], python=first[2], glibc=first[3])
    except ValueError as error:
        raise ArtifactError(f"{path}: {error}") from error
    found = [match for _, match in matches if match is not None]
    return Lock(
        target=target,
        packages=tuple(LockedPackage(name=one[1], version=one[2], sha256=one[3]) for one in found),
    )
