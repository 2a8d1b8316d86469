"""The keys of a product: root keys that say which keys release, and a key that releases.

DIR/root-1.pem ..   keep them apart and offline; two of three change anything
DIR/release.pem     signs every bundle
DIR/1.root.json     what a device is told to trust
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, Root, TargetFile, Targets

from edgephi.base.errors import ArtifactError, ConfigError
from edgephi_agent.errors import RefusedError
from edgephi_agent.index import INDEX_NAME
from edgephi_agent.trust import TrustedRoot, follow_chain, trust_first_root

RELEASE_KEY = "release.pem"
_ROOT_YEARS = 20


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
    roots = [CryptoSigner.generate_ed25519() for _ in range(num_roots)]
    release = CryptoSigner.generate_ed25519()
    root = Root(version=1, expires=now + timedelta(days=365 * _ROOT_YEARS))
    for signer in roots:
        root.add_key(signer.public_key, "root")
    root.add_key(release.public_key, "targets")
    root.roles["root"].threshold = threshold
    metadata = Metadata(root)
    for signer in roots[:threshold]:
        metadata.sign(signer, append=True)
    folder.mkdir(mode=0o700)
    named = {f"root-{number}.pem": signer for number, signer in enumerate(roots, start=1)} | {RELEASE_KEY: release}
    files = [_write(folder / name, signer.private_bytes, 0o600) for name, signer in named.items()]
    return (*files, _write(folder / "1.root.json", metadata.to_bytes(), 0o644))


def read_chain(folder: Path) -> TrustedRoot:
    """The root metadata of a product, every version from 1 on.

    Raises:
        ArtifactError: A version is missing, damaged or not trusted.
    """
    contents: list[bytes] = []
    while (path := folder / f"{len(contents) + 1}.root.json").is_file():
        contents.append(path.read_bytes())
    if not contents:
        raise ArtifactError(f"{folder / '1.root.json'}: missing; give the folder that `edgephi-pack keys` made")
    try:
        return follow_chain(trust_first_root(contents[0]), contents[1:])
    except RefusedError as error:
        raise ArtifactError(f"{folder}: {error}") from error


def read_key(path: Path) -> CryptoSigner:
    """A key of a PEM file.

    Raises:
        ArtifactError: It cannot be read, or is no such key.
    """
    try:
        return CryptoSigner(load_pem_private_key(path.read_bytes(), None))
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror}); give the folder of the keys") from error
    except (ValueError, TypeError) as error:
        raise ArtifactError(f"{path}: is no key without a password in PEM form ({error})") from error


def sign_index(index: bytes, counter: int, expires: datetime, signer: CryptoSigner) -> bytes:
    """`metadata/targets.json`: the signature of an index."""
    targets = Targets(version=counter, expires=expires.replace(microsecond=0))
    targets.targets[INDEX_NAME] = TargetFile.from_data(INDEX_NAME, index, ["sha256"])
    metadata = Metadata(targets)
    metadata.sign(signer)
    content: bytes = metadata.to_bytes()
    return content


def _write(path: Path, content: bytes, mode: int) -> Path:
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
    return path
