"""What devices with an earlier release have already: chunks to leave out, and chunks to subtract new ones from."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from edgephi.base.errors import ArtifactError, ConfigError
from edgephi_agent.bundle import opened
from edgephi_agent.errors import RefusedError, RequestError
from edgephi_agent.index import SignedIndex, Subtraction
from edgephi_agent.subtraction import subtracted
from edgephi_agent.trust import TrustedRoot, check_signature, follow_chain, trust_first_root
from edgephi_pack.bundle_writer import DeltaSource, Listing
from edgephi_pack.tree import TreeFile

#: A difference is carried if it takes less than this part of its chunk.
_PAYS = 0.8
#: As much of a chunk says whether the rest is worth the time.
_SAMPLE_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class EarlierRelease:
    """A bundle of an earlier release whose signature was verified."""

    path: Path
    index: SignedIndex

    def delta(self, folder: Path) -> DeltaSource:
        """What a bundle for its devices leaves out; `folder` holds differences."""
        return DeltaSource(frozenset(chunk.sha256 for chunk in self.index.release.chunks), folder)


@dataclass(frozen=True, slots=True, order=True)
class _Pair:
    """A new chunk, and the number of the earlier one at its place in the file of the same name."""

    earlier: int
    name: str
    offset: int
    num_bytes: int


def read_earlier(path: Path, trusted: TrustedRoot) -> EarlierRelease:
    """An earlier bundle, a file or a folder, which may itself leave chunks out.

    Args:
        path: The bundle.
        trusted: The keys of the product, whose present or former ones must have signed it.

    Raises:
        ConfigError: There is no such bundle.
        ArtifactError: It is damaged, or not of this product.
    """
    try:
        with opened(str(path), sys.stdin.buffer) as bundle:
            former = follow_chain(trust_first_root(bundle.roots[0] if bundle.roots else b""), bundle.roots)
            if former.chain != trusted.chain[: len(former.chain)]:
                raise ArtifactError(f"{path}: is signed by other keys; give an earlier bundle of this product")
            check_signature(former, bundle.targets, bundle.index)
            return EarlierRelease(path, SignedIndex.read(bundle.index, str(path)))
    except RequestError as error:
        raise ConfigError(str(error)) from error
    except RefusedError as error:
        raise ArtifactError(f"{path}: {error}") from error


def find_subtractions(
    listing: Listing, earlier: Sequence[EarlierRelease], folder: Path
) -> dict[str, tuple[Subtraction, ...]]:
    """The differences that pay, by the names of their chunks.

    Args:
        listing: The new release.
        earlier: Whose chunks are subtracted, as far as their bundles carry them.
        folder: Gets the differences, named by their sha256.

    Raises:
        ArtifactError: An earlier bundle is damaged.
    """
    found: dict[str, dict[str, Subtraction]] = {}
    for one in earlier:
        try:
            for name, subtraction in _differences(listing, one, folder):
                found.setdefault(name, {})[subtraction.sha256] = subtraction
        except RefusedError as error:
            raise ArtifactError(f"{one.path}: {error}") from error
    return {name: tuple(forms.values()) for name, forms in found.items()}


def _differences(listing: Listing, one: EarlierRelease, folder: Path) -> Iterator[tuple[str, Subtraction]]:
    files = {cut.file.path: cut.file for cut in listing.cut}
    pairs = _pairs(listing, one.index)
    with opened(str(one.path), sys.stdin.buffer) as bundle:
        bundle.trust_order(one.index)
        for number, alike in groupby(sorted(pairs), key=lambda pair: pair.earlier):
            base, old = one.index.release.chunks[number].sha256, bundle.chunk(number)
            if old is None or hashlib.sha256(old).hexdigest() != base:
                continue  # left out there, or a difference itself
            for pair in alike:
                carried = _worth(files[pairs[pair]], pair, old)
                if carried is not None:
                    name = hashlib.sha256(carried).hexdigest()
                    (folder / name).write_bytes(carried)
                    yield pair.name, Subtraction(base=base, sha256=name, bytes=len(carried))


def _pairs(listing: Listing, earlier: SignedIndex) -> dict[_Pair, str]:
    """New chunks with an earlier one of their size in their place, and the paths of their files."""
    release = earlier.release
    known = {chunk.sha256 for chunk in release.chunks}
    places = {
        (file.path, offset, release.chunks[number].bytes): number
        for file in release.files
        for number, offset in file.placed(release.chunks)
    }
    found: dict[_Pair, str] = {}
    seen: set[str] = set()
    for file in listing.files:
        for number, offset in file.placed(listing.chunks):
            chunk = listing.chunks[number]
            other = places.get((file.path, offset, chunk.bytes))
            if other is not None and chunk.sha256 not in known | seen:
                seen.add(chunk.sha256)
                found[_Pair(other, chunk.sha256, offset, chunk.bytes)] = file.path
    return found


def _worth(file: TreeFile, pair: _Pair, old: bytes) -> bytes | None:
    """The difference of two chunks, where it is enough smaller than the new one."""
    new = file.read(pair.offset, pair.num_bytes)
    sample, before = new[:_SAMPLE_BYTES], old[:_SAMPLE_BYTES]
    if len(new) != len(old) or len(subtracted(sample, before)) > _PAYS * len(sample):
        return None
    carried = subtracted(new, old)
    return carried if len(carried) < _PAYS * len(new) else None
