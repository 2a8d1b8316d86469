"""`release.json`: what a release is, for whom, and the chunks that its files consist of."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from edgephi_agent.json_values import decode

INDEX_NAME = "release.json"
SCHEMA = 1
MOST_INDEX_BYTES = 8 << 20
MOST_CHUNK_BYTES = 4 << 20
_FILE_MODES = (0o444, 0o555)
_ROOMS = ("app", "bin", "model", "probe", "root", "licences", "about")
_MOST_PATH = 400
_SHA256 = re.compile(r"[0-9a-f]{64}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subtraction:
    """A chunk as its difference from one of an earlier release; see subtraction.py.

    Attributes:
        base: The sha256 of the earlier chunk, which has as many bytes.
        sha256: Of the difference as it is carried.
        bytes: Of the difference as it is carried.
    """

    base: str
    sha256: str
    bytes: int

    def __post_init__(self) -> None:
        _check_sha256(self.base)
        _check_sha256(self.sha256)
        if not 1 <= self.bytes <= MOST_CHUNK_BYTES:
            raise ValueError(f"a difference has {self.bytes:,} bytes; 1 to {MOST_CHUNK_BYTES:,} are allowed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A piece of a file, the unit that is carried and verified.

    Attributes:
        sha256: Of its bytes.
        bytes: Its size.
        subtractions: Other ways to carry it, in bundles for devices that have the base.
    """

    sha256: str
    bytes: int
    subtractions: tuple[Subtraction, ...] = ()

    def __post_init__(self) -> None:
        _check_sha256(self.sha256)
        if not 1 <= self.bytes <= MOST_CHUNK_BYTES:
            raise ValueError(f"a chunk has {self.bytes:,} bytes; 1 to {MOST_CHUNK_BYTES:,} are allowed")

    @property
    def carried_names(self) -> tuple[str, ...]:
        """The sha256 of each form in which a bundle may have it."""
        return (self.sha256, *(one.sha256 for one in self.subtractions))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseFile:
    """A regular file.

    Attributes:
        path: In the release.
        bytes: Its size.
        sha256: Of all of it.
        mode: 292 (0444), or 365 (0555) for a program.
        chunks: Indices into the release's list, in order.
    """

    path: str
    bytes: int
    sha256: str
    mode: int
    chunks: tuple[int, ...]

    def __post_init__(self) -> None:
        _check_sha256(self.sha256)
        if self.mode not in _FILE_MODES:
            raise ValueError(f"{self.path}: mode {self.mode} is neither 292 nor 365")
        parts = self.path.split("/")
        is_plain = unicodedata.normalize("NFC", self.path) == self.path and self.path.isprintable()
        if (
            not is_plain
            or len(self.path.encode()) > _MOST_PATH
            or len(parts) < 2
            or parts[0] not in _ROOMS
            or any(part in ("", ".", "..") for part in parts)
        ):
            raise ValueError(f"{self.path!r} is no path of a release")

    @property
    def is_shared(self) -> bool:
        """Whether releases hold links of one file; not of the model: ONNX Runtime refuses weights with two links."""
        return not self.path.startswith("model/")

    def placed(self, chunks: Sequence[Chunk]) -> Iterator[tuple[int, int]]:
        """Indices of its chunks, with their offsets in it.

        Args:
            chunks: Of the release.
        """
        offset = 0
        for number in self.chunks:
            yield number, offset
            offset += chunks[number].bytes

    @property
    def store_name(self) -> str:
        """Its name in the store: files of equal content and mode are one."""
        return f"{self.sha256}.{self.mode:o}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Audience:
    """The devices that may install it; empty lists for all."""

    fleets: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirements:
    """What a device must have; None for no requirement.

    Attributes:
        arch: As `uname -m` has it.
        python: Minor version, such as `3.11`.
        memory_bytes: Of the machine.
        from_counter: The oldest release that it can be installed over.
    """

    arch: str | None = None
    python: str | None = None
    memory_bytes: int | None = None
    from_counter: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeCommand:
    """How the release proves itself.

    Attributes:
        command: A file of the release and its arguments, run in the release's folder; exit 0 accepts.
        deadline_s: Seconds after which it counts as failed.
    """

    command: tuple[str, ...]
    deadline_s: int = 120

    def __post_init__(self) -> None:
        if not self.command or self.deadline_s < 1:
            raise ValueError("the probe needs a command and a deadline of 1 second or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """The content of `release.json`.

    Attributes:
        schema: 1.
        appliance: The product's name.
        version: For people.
        counter: Rises with each release; no device goes below the counter that proved itself there.
        created: UTC, such as `2026-11-27T02:00:00Z`.
        files: Everything that is in it.
        chunks: In the order in which a bundle carries them.
        probe: How it proves itself.
        audience: For whom it is.
        requires: What it needs.
        revokes_below: Once it has proved itself, releases with a lower counter are removed; 0 for none.
    """

    schema: int
    appliance: str
    version: str
    counter: int
    created: str
    files: tuple[ReleaseFile, ...]
    chunks: tuple[Chunk, ...]
    probe: ProbeCommand
    audience: Audience = field(default_factory=Audience)
    requires: Requirements = field(default_factory=Requirements)
    revokes_below: int = 0

    def __post_init__(self) -> None:
        if self.schema != SCHEMA:
            raise ValueError(f"schema is {self.schema}, this agent reads {SCHEMA}; update the agent")
        if self.counter < 1 or not _TIME.fullmatch(self.created):
            raise ValueError("counter must be 1 or more, and created a time such as 2026-11-27T02:00:00Z")
        names = [name for chunk in self.chunks for name in chunk.carried_names]
        if len(set(names)) != len(names):
            raise ValueError("a chunk is listed twice")
        self._check_files()
        if self.probe.command[0] not in {file.path for file in self.files}:
            raise ValueError(f"the probe's command {self.probe.command[0]!r} is no file of the release")

    def _check_files(self) -> None:
        seen: set[str] = set()
        folders: set[str] = set()
        used: dict[int, None] = {}
        for file in self.files:
            folded = file.path.casefold()
            if folded in seen:
                raise ValueError(f"{file.path}: two files have this name")
            seen.add(folded)
            parts = folded.split("/")
            folders |= {"/".join(parts[:depth]) for depth in range(1, len(parts))}
            if any(not 0 <= index < len(self.chunks) for index in file.chunks):
                raise ValueError(f"{file.path}: names a chunk that is not listed")
            if sum(self.chunks[index].bytes for index in file.chunks) != file.bytes:
                raise ValueError(f"{file.path}: its chunks do not add up to {file.bytes:,} bytes")
            used |= dict.fromkeys(file.chunks)
        if both := sorted(seen & folders):
            raise ValueError(f"{both[0]}: is a file and a folder")
        if list(used) != list(range(len(self.chunks))):
            raise ValueError("chunks are not listed in the order of their first use")


@dataclass(frozen=True, slots=True)
class SignedIndex:
    """A release with the bytes that were signed."""

    release: Release
    content: bytes

    @classmethod
    def read(cls, content: bytes, where: str = INDEX_NAME) -> SignedIndex:
        """Parse bytes that were verified.

        Raises:
            RefusedError: They are no index.
        """
        return cls(decode(Release, content, where), content)

    @property
    def name(self) -> str:
        """The folder's name: the counter and the beginning of the sha256 of the index."""
        return f"{self.release.counter}-{hashlib.sha256(self.content).hexdigest()[:16]}"


def _check_sha256(text: str) -> None:
    if not _SHA256.fullmatch(text):
        raise ValueError(f"{text!r} is no sha256 in hexadecimal digits")
