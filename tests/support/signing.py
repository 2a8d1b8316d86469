"""Keys, signed metadata and bundles for the agent's tests."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, Root, TargetFile, Targets

from edgephi_agent.bundle import TARGETS_ENTRY, chunk_entry, root_entry
from edgephi_agent.index import INDEX_NAME
from edgephi_agent.tar_entries import end, header, padding
from support.releases import MadeRelease

_LATER = datetime(2099, 1, 1, tzinfo=UTC)


@functools.cache
def key(name: str) -> CryptoSigner:
    """A key of this name, the same throughout a run."""
    return CryptoSigner.generate_ed25519()


def root(
    version: int = 1,
    *,
    keys: Sequence[str] = ("root-a", "root-b", "root-c"),
    releases: Sequence[str] = ("release",),
    threshold: int = 2,
    signed_by: Sequence[str] = ("root-a", "root-b"),
) -> bytes:
    """Root metadata."""
    made = Root(version=version, expires=_LATER)
    for name in keys:
        made.add_key(key(name).public_key, "root")
    for name in releases:
        made.add_key(key(name).public_key, "targets")
    made.roles["root"].threshold = threshold
    return _signed(Metadata(made), signed_by)


def targets(
    index: bytes,
    counter: int,
    *,
    signed_by: Sequence[str] = ("release",),
    expires: datetime = _LATER,
    name: str = INDEX_NAME,
) -> bytes:
    """The signature of an index."""
    made = Targets(version=counter, expires=expires)
    made.targets[name] = TargetFile.from_data(name, index, ["sha256"])
    return _signed(Metadata(made), signed_by)


def _signed(metadata: Metadata[Root] | Metadata[Targets], signed_by: Sequence[str]) -> bytes:
    for name in signed_by:
        metadata.sign(key(name), append=True)
    return metadata.to_bytes()


def entries_of(
    made: MadeRelease,
    *,
    roots: Sequence[bytes] | None = None,
    signature: bytes | None = None,
    without: Sequence[int] = (),
) -> list[tuple[str, bytes]]:
    """Names and contents of a bundle, in their order."""
    index = made.index.content
    chain = [root()] if roots is None else roots
    signature = targets(index, made.index.release.counter) if signature is None else signature
    chunks = zip(made.index.release.chunks, made.contents, strict=True)
    return [
        *((root_entry(number), content) for number, content in enumerate(chain, start=1)),
        (TARGETS_ENTRY, signature),
        (INDEX_NAME, index),
        *((chunk_entry(chunk.sha256), data) for n, (chunk, data) in enumerate(chunks) if n not in without),
    ]


def tar(entries: Sequence[tuple[str, bytes]]) -> bytes:
    """The file of a bundle."""
    return b"".join(header(name, len(data)) + data + padding(len(data)) for name, data in entries) + end()


def write_bundle(path: Path, made: MadeRelease, **changes) -> Path:  # type: ignore[no-untyped-def]
    """The file of a bundle, by the arguments of `entries_of`."""
    path.write_bytes(tar(entries_of(made, **changes)))
    return path


def write_folder(folder: Path, entries: Sequence[tuple[str, bytes]]) -> Path:
    """A folder with the names of a bundle."""
    for name, data in entries:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder
