"""A release as a bundle: its files cut into chunks, the index of them, the signature, and all of it in one file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
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


def cut_tree(files: tuple[TreeFile, ...], model: Path) -> tuple[CutFile, ...]:
    """Where each file is cut; `model` is the model folder among them."""
    offsets = {f"model/{name}": found for name, found in tensor_offsets(model).items()}
    return tuple(CutFile(file, cuts(file.size, offsets.get(file.path, ()))) for file in files)


def make_index(cut: tuple[CutFile, ...], facts: ReleaseFacts) -> SignedIndex:
    """Read every file once, for the index.

    Raises:
        ConfigError: A path, or what the packager decided, has no place in an index.
    """
    chunks: dict[str, Chunk] = {}
    numbers: dict[str, int] = {}
    try:
        listed = tuple(_indexed(one, chunks, numbers) for one in cut)
        release = Release(
            schema=SCHEMA,
            appliance=facts.appliance,
            version=facts.version,
            counter=facts.counter,
            created=facts.created.strftime(_TIME),
            files=listed,
            chunks=tuple(chunks.values()),
            probe=ProbeCommand(command=PROBE_COMMAND, deadline_s=facts.deadline_s),
            audience=facts.audience,
            requires=facts.requires,
            revokes_below=facts.revokes_below,
        )
        return SignedIndex.read(encode(release))
    except (ValueError, RefusedError) as error:
        raise ConfigError(f"this cannot be a release: {error}") from error


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Signing:
    """The keys: a product's root metadata, and the key that releases."""

    chain: tuple[bytes, ...]
    signer: CryptoSigner


def write_bundle(
    stream: BinaryIO, cut: tuple[CutFile, ...], index: SignedIndex, facts: ReleaseFacts, signing: Signing
) -> None:
    """Write the bundle; every file is read a second time.

    Args:
        stream: Of the output.
        cut: As `make_index` took it.
        index: Of `make_index`.
        facts: Likewise.
        signing: The keys.

    Raises:
        ArtifactError: A file changed meanwhile.
    """
    signature = sign_index(index.content, facts.counter, facts.expires, signing.signer)
    _put(stream, [(root_entry(number), content) for number, content in enumerate(signing.chain, start=1)])
    _put(stream, [(TARGETS_ENTRY, signature), (INDEX_NAME, index.content)])
    for name, piece in _chunks(cut, {chunk.sha256 for chunk in index.release.chunks}):
        _put(stream, [(chunk_entry(name), piece)])
    stream.write(end())


def _chunks(cut: tuple[CutFile, ...], left: set[str]) -> Iterator[tuple[str, bytes]]:
    """Each chunk at its first use; `left` becomes empty."""
    written: set[str] = set()
    for one in cut:
        for piece in one.file.pieces(one.ends):
            name = hashlib.sha256(piece).hexdigest()
            if name in written:
                continue
            if name not in left:
                raise ArtifactError(f"{one.file.path}: changed while it was packed; pack again")
            left.discard(name)
            written.add(name)
            yield name, piece


def _put(stream: BinaryIO, entries: list[tuple[str, bytes]]) -> None:
    for name, data in entries:
        stream.write(header(name, len(data)) + data + padding(len(data)))
