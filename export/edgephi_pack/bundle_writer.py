"""A release as a bundle: its files cut into chunks, the index of them, the signature, and all of it in one file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from securesystemslib.signer import CryptoSigner

from edgephi.base.errors import ArtifactError, ConfigError
from edgephi_agent.bundle import TARGETS_ENTRY, chunk_entry, root_entry
from edgephi_agent.errors import RefusedError
from edgephi_agent.index import (
    INDEX_NAME,
    SCHEMA,
    Audience,
    Chunk,
    ProbeCommand,
    Release,
    ReleaseFile,
    Requirements,
    SignedIndex,
    Subtraction,
)
from edgephi_agent.json_values import encode
from edgephi_agent.tar_entries import end, header, padding
from edgephi_pack.chunks import cuts, tensor_offsets
from edgephi_pack.keys import sign_index
from edgephi_pack.tree import PROBE_COMMAND, TreeFile

_TIME = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseFacts:
    """What the packager decides.

    Attributes:
        appliance: The product's name.
        version: For people.
        counter: Higher than that of every release before.
        created: UTC.
        expires: Until when devices may install it.
        audience: For whom it is.
        requires: What a device must have.
        revokes_below: See Release.
        deadline_s: Of the probe.
    """

    appliance: str
    version: str
    counter: int
    created: datetime
    expires: datetime
    audience: Audience = field(default_factory=Audience)
    requires: Requirements = field(default_factory=Requirements)
    revokes_below: int = 0
    deadline_s: int = 120


@dataclass(frozen=True, slots=True)
class CutFile:
    """A file of the release with the ends of its chunks."""

    file: TreeFile
    ends: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Listing:
    """The files of a release and their chunks, each read once."""

    cut: tuple[CutFile, ...]
    files: tuple[ReleaseFile, ...]
    chunks: tuple[Chunk, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Signing:
    """The keys: a product's root metadata, and the keys that release."""

    chain: tuple[bytes, ...]
    signers: tuple[CryptoSigner, ...]


@dataclass(frozen=True, slots=True)
class DeltaSource:
    """What a bundle for devices with one earlier release has in place of chunks.

    Attributes:
        known: Chunks of the earlier release.
        folder: Holds differences, named by their sha256.
    """

    known: frozenset[str]
    folder: Path

    def carried(self, chunk: Chunk, piece: bytes) -> tuple[str, bytes]:
        """Name and bytes of the form that such a device takes."""
        for one in chunk.subtractions:
            if one.base in self.known:
                return one.sha256, (self.folder / one.sha256).read_bytes()
        return chunk.sha256, piece


@dataclass(frozen=True, slots=True)
class SignedRelease:
    """An index with its signature and the files that it lists."""

    listing: Listing
    index: SignedIndex
    signature: bytes
    chain: tuple[bytes, ...]

    def entries(self, delta: DeltaSource | None = None) -> Iterator[tuple[str, bytes]]:
        """Names and contents of the bundle in their order; every file is read a second time.

        Args:
            delta: Leave out what devices with an earlier release have.

        Raises:
            ArtifactError: A file changed meanwhile.
        """
        yield from ((root_entry(number), content) for number, content in enumerate(self.chain, start=1))
        yield from ((TARGETS_ENTRY, self.signature), (INDEX_NAME, self.index.content))
        for chunk, piece in _chunks(self.listing.cut, self.index.release.chunks):
            if delta is None:
                yield chunk_entry(chunk.sha256), piece
            elif chunk.sha256 not in delta.known:
                name, data = delta.carried(chunk, piece)
                yield chunk_entry(name), data


def list_tree(files: tuple[TreeFile, ...], model: Path) -> Listing:
    """Cut each file where its tensors begin, and read it once; `model` is the model folder among them.

    Raises:
        ArtifactError: The model folder is damaged.
        ConfigError: A path has no place in an index.
    """
    offsets = {f"model/{name}": found for name, found in tensor_offsets(model).items()}
    cut = tuple(CutFile(file, cuts(file.size, offsets.get(file.path, ()))) for file in files)
    chunks: dict[str, Chunk] = {}
    numbers: dict[str, int] = {}
    try:
        listed = tuple(_indexed(one, chunks, numbers) for one in cut)
    except ValueError as error:
        raise ConfigError(f"this cannot be a release: {error}") from error
    return Listing(cut, listed, tuple(chunks.values()))


def sign_release(
    listing: Listing, facts: ReleaseFacts, signing: Signing, subtractions: Mapping[str, tuple[Subtraction, ...]]
) -> SignedRelease:
    """The index of the files, and its signature.

    Args:
        listing: The files.
        facts: What the packager decides.
        signing: The keys.
        subtractions: Other forms of chunks, by their names.

    Raises:
        ConfigError: What the packager decided has no place in an index.
    """
    chunks = tuple(replace(one, subtractions=subtractions.get(one.sha256, ())) for one in listing.chunks)
    try:
        release = Release(
            schema=SCHEMA,
            appliance=facts.appliance,
            version=facts.version,
            counter=facts.counter,
            created=facts.created.strftime(_TIME),
            files=listing.files,
            chunks=chunks,
            probe=ProbeCommand(command=PROBE_COMMAND, deadline_s=facts.deadline_s),
            audience=facts.audience,
            requires=facts.requires,
            revokes_below=facts.revokes_below,
        )
        index = SignedIndex.read(encode(release))
    except (ValueError, RefusedError) as error:
        raise ConfigError(f"this cannot be a release: {error}") from error
    signature = sign_index(index.content, facts.counter, facts.expires, signing.signers)
    return SignedRelease(listing, index, signature, signing.chain)


def write_file(stream: BinaryIO, entries: Iterator[tuple[str, bytes]]) -> int:
    """Write a bundle as one file; gives the number of its entries."""
    count = 0
    for name, data in entries:
        stream.write(header(name, len(data)) + data + padding(len(data)))
        count += 1
    stream.write(end())
    return count


def write_folder(folder: Path, entries: Iterator[tuple[str, bytes]]) -> int:
    """Write a bundle as files of a folder; gives their number."""
    count = 0
    for name, data in entries:
        place = folder / name
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(data)
        count += 1
    return count


def _indexed(cut: CutFile, chunks: dict[str, Chunk], numbers: dict[str, int]) -> ReleaseFile:
    """The entry of a file; its chunks are added to those before."""
    whole, own = hashlib.sha256(), []
    for piece in cut.file.pieces(cut.ends):
        whole.update(piece)
        name = hashlib.sha256(piece).hexdigest()
        if name not in chunks:
            numbers[name] = len(chunks)
            chunks[name] = Chunk(sha256=name, bytes=len(piece))
        own.append(numbers[name])
    return ReleaseFile(
        path=cut.file.path, bytes=cut.file.size, sha256=whole.hexdigest(), mode=cut.file.mode, chunks=tuple(own)
    )


def _chunks(cut: tuple[CutFile, ...], listed: tuple[Chunk, ...]) -> Iterator[tuple[Chunk, bytes]]:
    """Each chunk at its first use."""
    left = {chunk.sha256: chunk for chunk in listed}
    written: set[str] = set()
    for one in cut:
        for piece in one.file.pieces(one.ends):
            name = hashlib.sha256(piece).hexdigest()
            if name in written:
                continue
            if name not in left:
                raise ArtifactError(f"{one.file.path}: changed while it was packed; pack again")
            written.add(name)
            yield left.pop(name), piece
