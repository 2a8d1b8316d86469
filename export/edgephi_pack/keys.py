"""The keys of a product: root keys that say which keys release, and keys that release.

DIR/root-1.pem ..   keep them apart and offline; two of three change anything
DIR/release-1-1.pem signs every bundle; the first number is that of the root metadata that brought it
DIR/1.root.json     what a device is told to trust; later versions come with each bundle
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, Root, TargetFile, Targets

from edgephi.base.errors import ArtifactError, ConfigError
from edgephi_agent.errors import RefusedError
from edgephi_agent.index import INDEX_NAME
from edgephi_agent.trust import TrustedRoot, follow_chain, trust_first_root

_ROOT_YEARS = 20
_ROLES = {"root": "root", "release": "targets"}


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A key of the folder."""

    path: Path
    signer: CryptoSigner

    @property
    def id(self) -> str:
        """As metadata names it."""
        return str(self.signer.public_key.keyid)


def make_keys(folder: Path, now: datetime, *, num_roots: int = 3, threshold: int = 2) -> tuple[Path, ...]:
    """New keys and the root metadata that names them, signed by as many root keys as it asks for.

    Args:
        folder: Made; must not exist.
        now: The root metadata is said to hold for 20 years from then.
        num_roots: Root keys.
        threshold: Of them, those that must sign new root metadata.

    Returns:
        The files.

    Raises:
        ConfigError: The folder exists, or the threshold is not within the number of keys.
    """
    if not 1 <= threshold <= num_roots:
        raise ConfigError(f"threshold is {threshold}; use 1 to {num_roots}, the number of root keys")
    if folder.exists():
        raise ConfigError(f"{folder}: already exists; keys are never replaced, choose another folder")
    named = {f"root-{number}.pem": CryptoSigner.generate_ed25519() for number in range(1, num_roots + 1)}
    release = CryptoSigner.generate_ed25519()
    root = Root(version=1, expires=now + timedelta(days=365 * _ROOT_YEARS))
    for signer in named.values():
        root.add_key(signer.public_key, "root")
    root.add_key(release.public_key, "targets")
    root.roles["root"].threshold = threshold
    content = _signed(root, [*named.values()][:threshold])
    folder.mkdir(mode=0o700)
    files = [_write(folder / name, key.private_bytes, 0o600) for name, key in named.items()]
    files.append(_write(folder / "release-1-1.pem", release.private_bytes, 0o600))
    return (*files, _write(folder / "1.root.json", content, 0o644))


def rotate_keys(folder: Path, now: datetime, role: str) -> tuple[Path, ...]:
    """New keys in place of those of a role, and root metadata that say so.

    Args:
        folder: Of `make_keys`.
        now: See `make_keys`.
        role: `release` or `root`.

    Returns:
        The new files.

    Raises:
        ArtifactError: The folder's metadata or a key is damaged.
        ConfigError: The folder lacks root keys to sign with.
    """
    trusted = read_chain(folder)
    former = trusted.root.roles[_ROLES[role]].keyids
    version = trusted.root.version + 1
    fresh = [CryptoSigner.generate_ed25519() for _ in former]
    root = _next_root(trusted, now)
    for key_id in [*former]:
        root.revoke_key(key_id, _ROLES[role])
    for signer in fresh:
        root.add_key(signer.public_key, _ROLES[role])
    names = [f"{role}-{version}-{number}.pem" for number in range(1, len(fresh) + 1)]
    content = _checked(trusted, root, _root_signers(folder, trusted.root, root, fresh if role == "root" else ()))
    files = [_write(folder / name, key.private_bytes, 0o600) for name, key in zip(names, fresh, strict=True)]
    return (*files, _write(folder / f"{version}.root.json", content, 0o644))


def revoke_key(folder: Path, now: datetime, key: Path) -> tuple[Path, ...]:
    """Root metadata that no longer name a key, without another in its place.

    Args:
        folder: Of `make_keys`.
        now: See `make_keys`.
        key: Its file.

    Returns:
        The new file.

    Raises:
        ArtifactError: The folder's metadata or a key is damaged.
        ConfigError: No role has this key, too few would be left, or the folder lacks root keys to sign with.
    """
    trusted, wanted = read_chain(folder), read_key(key).public_key.keyid
    root = _next_root(trusted, now)
    roles = [name for name in _ROLES if wanted in root.roles[_ROLES[name]].keyids]
    if not roles:
        raise ConfigError(f"{key}: is trusted for nothing; it was revoked before, or is another product's")
    for name in roles:
        role = root.roles[_ROLES[name]]
        if len(role.keyids) <= role.threshold:
            raise ConfigError(f"{key}: {role.threshold} {name} keys must be left; use `edgephi-pack keys rotate`")
        root.revoke_key(wanted, _ROLES[name])
    content = _checked(trusted, root, _root_signers(folder, trusted.root, root))
    return (_write(folder / f"{root.version}.root.json", content, 0o644),)


def read_chain(folder: Path) -> TrustedRoot:
    """The root metadata of a product, every version from 1 on.

    Raises:
        ArtifactError: A version is missing, damaged or not trusted.
    """
    contents: list[bytes] = []
    while (path := folder / f"{len(contents) + 1}.root.json").is_file():
        contents.append(path.read_bytes())
    if not contents:
        raise ArtifactError(f"{folder / '1.root.json'}: missing; give the folder that `edgephi-pack keys new` made")
    try:
        return follow_chain(trust_first_root(contents[0]), contents[1:])
    except RefusedError as error:
        raise ArtifactError(f"{folder}: {error}") from error


def release_signers(folder: Path, trusted: TrustedRoot) -> tuple[CryptoSigner, ...]:
    """Keys of the folder that may sign a release now, as many as must.

    Raises:
        ArtifactError: A key is damaged, or too few are there.
    """
    found = [one.signer for one in _key_files(folder, "release-*.pem") if one.id in trusted.release_keys]
    threshold = trusted.root.roles["targets"].threshold
    if len(found) < threshold:
        raise ArtifactError(
            f"{folder}: has {len(found)} of {threshold} keys that sign releases; put release-*.pem there"
        )
    return tuple(found[:threshold])


def read_key(path: Path) -> CryptoSigner:
    """A key of a PEM file.

    Raises:
        ArtifactError: It cannot be read, or is no such key.
    """
    try:
        return CryptoSigner(load_pem_private_key(path.read_bytes(), None))
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror}); give a file of the keys") from error
    except (ValueError, TypeError) as error:
        raise ArtifactError(f"{path}: is no key without a password in PEM form ({error})") from error


def sign_index(index: bytes, counter: int, expires: datetime, signers: Iterable[CryptoSigner]) -> bytes:
    """`metadata/targets.json`: the signature of an index."""
    targets = Targets(version=counter, expires=expires.replace(microsecond=0))
    targets.targets[INDEX_NAME] = TargetFile.from_data(INDEX_NAME, index, ["sha256"])
    return _signed(targets, signers)


def _signed(content: Root | Targets, signers: Iterable[CryptoSigner]) -> bytes:
    metadata = Metadata(content)
    for signer in signers:
        metadata.sign(signer, append=True)
    signed: bytes = metadata.to_bytes()
    return signed


def _checked(trusted: TrustedRoot, root: Root, signers: Iterable[CryptoSigner]) -> bytes:
    """Signed root metadata that devices will follow."""
    content = _signed(root, signers)
    follow_chain(trusted, [content])
    return content


def _next_root(trusted: TrustedRoot, now: datetime) -> Root:
    root: Root = Metadata[Root].from_bytes(trusted.chain[-1]).signed
    root.version += 1
    root.expires = now + timedelta(days=365 * _ROOT_YEARS)
    return root


def _root_signers(folder: Path, old: Root, new: Root, fresh: Sequence[CryptoSigner] = ()) -> list[CryptoSigner]:
    """As many of the keys as the former root metadata asks for, and as many as the new one does."""
    files = {one.id: one.signer for one in _key_files(folder, "root-*.pem")}
    files |= {str(signer.public_key.keyid): signer for signer in fresh}
    chosen: dict[str, CryptoSigner] = {}
    for root in (old, new):
        role = root.roles["root"]
        able = [key_id for key_id in role.keyids if key_id in files]
        able.sort(key=lambda key_id: key_id not in chosen)
        if len(able) < role.threshold:
            raise ConfigError(f"{folder}: has {len(able)} of {role.threshold} root keys that must sign; put them there")
        chosen |= {key_id: files[key_id] for key_id in able[: role.threshold]}
    return [*chosen.values()]


def _key_files(folder: Path, pattern: str) -> list[KeyFile]:
    return [KeyFile(path, read_key(path)) for path in sorted(folder.glob(pattern))]


def _write(path: Path, content: bytes, mode: int) -> Path:
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
    return path
