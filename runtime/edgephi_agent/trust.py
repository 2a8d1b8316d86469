"""Whether a bundle was signed by the keys that this device trusts: TUF's root and targets metadata, used offline.

A stick cannot be fresh, so there is no timestamp; the counter of what proved itself here and the expiry of the metadata
take its place. Nothing of a bundle but this metadata is parsed before it has been verified.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Targets

from edgephi_agent.disk import DiskOperations
from edgephi_agent.errors import RefusedError, RequestError
from edgephi_agent.index import INDEX_NAME, SignedIndex
from edgephi_agent.install import Candidate
from edgephi_agent.state import Floor, put

TRUST = "trust"
MOST_ROOTS = 64
MOST_ROOT_BYTES = 32 << 10
MOST_TARGETS_BYTES = 64 << 10
_TIME = "%Y-%m-%dT%H:%M:%SZ"
Signed = TypeVar("Signed", Root, Targets)
#: What `tuf` raises of bytes that are no metadata, or metadata that does not hold.
_BAD = (RepositoryError, ValueError, KeyError, TypeError, AttributeError, RecursionError)


@dataclass(frozen=True, slots=True)
class TrustedRoot:
    """The newest root metadata whose chain of signatures holds.

    Attributes:
        root: The keys and thresholds.
        chain: Every version from 1 on, as bytes.
        epoch: The version that last changed the keys of releases.
    """

    root: Root
    chain: tuple[bytes, ...]
    epoch: int

    @property
    def release_keys(self) -> frozenset[str]:
        """Ids of the keys that sign releases."""
        return frozenset(self.root.roles["targets"].keyids)


def trust_first_root(content: bytes) -> TrustedRoot:
    """The root that a device was provisioned with: version 1, signed by its own keys.

    Raises:
        RefusedError: It is no such metadata.
    """
    signed = _root(content)
    root = signed.signed
    _verify(root, signed)
    if root.version != 1:
        raise RefusedError(f"the root metadata has version {root.version}; a device begins with version 1")
    return TrustedRoot(root, (content,), epoch=1)


def follow_chain(trusted: TrustedRoot, roots: Sequence[bytes]) -> TrustedRoot:
    """The newest root of a bundle's chain; each version must be signed by the keys of the one before and its own.

    Raises:
        RefusedError: A version is left out, changed, or not signed by enough keys.
    """
    for content in roots:
        signed = _root(content)
        root: Root = signed.signed
        known = len(trusted.chain)
        if root.version <= known:
            if content != trusted.chain[root.version - 1]:
                raise RefusedError(f"root metadata {root.version} is not the one of this device; the bundle is foreign")
            continue
        if root.version != known + 1:
            raise RefusedError(f"root metadata {known + 1} is missing; get the whole bundle")
        _verify(trusted.root, signed)
        _verify(root, signed)
        changed = frozenset(root.roles["targets"].keyids) != trusted.release_keys
        epoch = root.version if changed else trusted.epoch
        trusted = TrustedRoot(root, (*trusted.chain, content), epoch)
    return trusted


def load_trust(disk: DiskOperations) -> TrustedRoot:
    """The root metadata of this device.

    Raises:
        RequestError: It has none yet.
        RefusedError: It is damaged.
    """
    first = disk.read(f"{TRUST}/1.root.json")
    if first is None:
        raise RequestError("this device trusts no keys yet; run `edgephi-agent init ROOT.json`")
    chain = []
    for version in range(2, MOST_ROOTS + 1):
        content = disk.read(f"{TRUST}/{version}.root.json")
        if content is None:
            break
        chain.append(content)
    return follow_chain(trust_first_root(first), chain)


def save_trust(disk: DiskOperations, trusted: TrustedRoot) -> None:
    """Keep the chain; versions that are kept already are not written again."""
    disk.make_folder(TRUST)
    for version, content in enumerate(trusted.chain, start=1):
        if disk.read(f"{TRUST}/{version}.root.json") != content:
            put(disk, f"{TRUST}/{version}.root.json", content)


def verified_candidate(
    trusted: TrustedRoot, targets: bytes, index: bytes, floor: Floor, *, accept_expired: bool = False
) -> Candidate:
    """The release of a bundle, once its signatures hold.

    Args:
        trusted: The keys.
        targets: Bytes of `metadata/targets.json`.
        index: Bytes of `release.json`.
        floor: Its time is the earliest that the clock is taken for.
        accept_expired: An administrator's decision.

    Raises:
        RefusedError: Not signed by enough keys, expired, or not the index that was signed.
    """
    signed = check_signature(trusted, targets, index)
    now = max(datetime.now(UTC), datetime.strptime(floor.created, _TIME).replace(tzinfo=UTC))
    if signed.expires < now and not accept_expired:
        raise RefusedError(f"the signature expired at {signed.expires:{_TIME}}; get a newer bundle")
    candidate = Candidate(index=SignedIndex.read(index), targets=targets, epoch=trusted.epoch)
    if candidate.index.release.counter != signed.version:
        raise RefusedError(f"the signature is for counter {signed.version}, the release has another; sign it again")
    return candidate


def check_signature(trusted: TrustedRoot, targets: bytes, index: bytes) -> Targets:
    """The signed metadata of an index.

    Raises:
        RefusedError: Not signed by enough keys, or of another index.
    """
    metadata = _targets(targets)
    signed: Targets = metadata.signed
    try:
        trusted.root.verify_delegate("targets", metadata.signed_bytes, metadata.signatures)
    except _BAD as error:
        raise RefusedError(f"the release is not signed by the keys of this device ({error})") from None
    if set(signed.targets) != {INDEX_NAME} or signed.delegations is not None:
        raise RefusedError(f"metadata/targets.json: must name {INDEX_NAME} and nothing else")
    wanted = signed.targets[INDEX_NAME]
    if wanted.length != len(index) or wanted.hashes != {"sha256": hashlib.sha256(index).hexdigest()}:
        raise RefusedError(f"{INDEX_NAME} is not the one that was signed; copy the bundle again")
    return signed


def signers(trusted: TrustedRoot, targets: bytes) -> tuple[str, ...]:
    """Ids of the keys whose signatures of a release hold.

    Raises:
        RefusedError: It is no such metadata.
    """
    metadata = _targets(targets)
    try:
        result = trusted.root.get_verification_result("targets", metadata.signed_bytes, metadata.signatures)
    except _BAD as error:
        raise RefusedError(f"metadata/targets.json: cannot be compared with the keys ({error})") from None
    return tuple(sorted(result.signed))


def _targets(content: bytes) -> Metadata[Targets]:
    return _metadata(Targets, content, "metadata/targets.json")


def _root(content: bytes) -> Metadata[Root]:
    return _metadata(Root, content, "root metadata")


def _metadata(kind: type[Signed], content: bytes, where: str) -> Metadata[Signed]:
    """Metadata of this kind, whose signatures are still to be verified."""
    try:
        metadata: Metadata[Signed] = Metadata.from_bytes(content)
        if not isinstance(metadata.signed, kind):
            raise ValueError(f"its type is {metadata.signed.type}, expected {kind.type}")
        if not _is_strict(metadata, content):
            raise ValueError("it spells something as TUF does not")
    except _BAD as error:
        raise RefusedError(f"{where}: cannot be read ({error})") from None
    return metadata


def _is_strict(metadata: Metadata[Signed], content: bytes) -> bool:
    """Whether TUF would write these values so: it also reads other spellings of a time or a signature as the same."""
    is_lower = all(one.signature == one.signature.lower() for one in metadata.signatures.values())
    return is_lower and json.loads(content) == metadata.to_dict()


def _verify(by: Root, metadata: Metadata[Root]) -> None:
    try:
        by.verify_delegate("root", metadata.signed_bytes, metadata.signatures)
    except _BAD as error:
        raise RefusedError(f"root metadata {metadata.signed.version} is not trusted here ({error})") from None
