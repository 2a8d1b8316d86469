"""A verified release becomes a folder: chunks into files, files into the store, a tree of links and files, a trial.

The barriers, each shown to be needed by the tests: before files get their names in the store, before the tree gets its
name, and after that. What is done again after a power cut finds what was done before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from edgephi_agent.disk import DiskOperations
from edgephi_agent.errors import RefusedError, RequestError, SpaceError
from edgephi_agent.index import INDEX_NAME, MOST_CHUNK_BYTES, Chunk, ReleaseFile, SignedIndex
from edgephi_agent.state import RELEASES, State, Trial, load_state, point, save_state
from edgephi_agent.subtraction import added

TARGETS_NAME = "targets.json"
STORE, INCOMING = "store", "incoming"
_RESERVE_BYTES = 64 << 20


class ChunkSource(Protocol):
    """A bundle whose index was verified; its chunks were not."""

    def chunk(self, index: int) -> bytes | None:
        """A chunk in one of its forms, asked for in rising order; None where the bundle leaves it out."""

    def finish(self) -> None:
        """Refuse a bundle that does not end as it must."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A release whose signature was verified.

    Attributes:
        index: The release.
        targets: The signed metadata, kept with it.
        epoch: See Floor.
    """

    index: SignedIndex
    targets: bytes
    epoch: int


def check_candidate(state: State, candidate: Candidate, *, retry: bool = False) -> None:
    """Refuse what must not be installed over this state.

    Args:
        state: Of the device.
        candidate: The release.
        retry: Accept one that failed here before.

    Raises:
        RefusedError: Older than what proved itself here, or failed here before.
        RequestError: Another release is on trial.
    """
    name, release, floor = candidate.index.name, candidate.index.release, state.floor
    if state.trial is not None and state.trial.name != name:
        raise RequestError(f"{state.trial.name} is on trial; end it with `watch` or `rollback` before another install")
    order = (candidate.epoch, release.counter)
    if order < (floor.epoch, floor.counter):
        raise RefusedError(f"counter {release.counter} is older than {floor.counter}, which ran here; get a newer one")
    if order == (floor.epoch, floor.counter) and name != floor.name:
        raise RefusedError(f"counter {release.counter} ran here with other content; raise the counter and sign again")
    why = state.why_bad(name)
    if why is not None and not retry:
        raise RefusedError(f"{name} failed here ({why}); install a mended release, or give --retry")
    oldest = release.requires.from_counter
    if oldest is not None and (state.good is None or floor.counter < oldest):
        raise RefusedError(
            f"counter {release.counter} can be installed over {oldest} or newer; install that one before"
        )


def install(disk: DiskOperations, candidate: Candidate, source: ChunkSource, *, retry: bool = False) -> None:
    """Install a release and put it on trial; nothing happens if it is the good one or on trial already.

    Args:
        disk: Of the device.
        candidate: The release.
        source: Its chunks.
        retry: See `check_candidate`.

    Raises:
        RefusedError: As `check_candidate`; a chunk is not the signed one, or is nowhere.
        RequestError: As `check_candidate`.
        SpaceError: The disk has not enough space.
    """
    state, name = load_state(disk), candidate.index.name
    if name in (state.good, state.trial and state.trial.name):
        point(disk, state)
        return
    check_candidate(state, candidate, retry=retry)
    for folder in (STORE, INCOMING, RELEASES):
        disk.make_folder(folder)
    if not disk.exists(f"{RELEASES}/{name}"):
        _publish(disk, candidate, _fill(disk, state, candidate.index, source))
    bad = tuple(one for one in state.bad if one.name != name)
    state = replace(state, trial=Trial(name=name, epoch=candidate.epoch), bad=bad)
    save_state(disk, state)
    point(disk, state)


def read_index(disk: DiskOperations, name: str) -> SignedIndex:
    """The index of an installed release.

    Raises:
        RefusedError: It is missing or damaged.
    """
    path = f"{RELEASES}/{name}/{INDEX_NAME}"
    content = disk.read(path)
    if content is None:
        raise RefusedError(f"{path}: missing; install the release again")
    return SignedIndex.read(content, path)


def _fill(disk: DiskOperations, state: State, index: SignedIndex, source: ChunkSource) -> dict[str, str]:
    """Every shared file is in the store; gives the places of the others, by their paths in the release."""
    folder = f"{INCOMING}/{index.name}"
    disk.make_folder(folder)
    release = index.release
    parts = {
        _identity(file): (f"{folder}/{hashlib.sha256(_identity(file).encode()).hexdigest()}.part", file)
        for file in release.files
        if not (file.is_shared and disk.exists(f"{STORE}/{file.store_name}"))
    }
    found = {part: min(file.bytes, disk.size(part) or 0) for part, file in parts.values()}
    _check_space(disk, sum(file.bytes - found[part] for part, file in parts.values()))
    for part, file in parts.values():
        disk.allocate(part, file.bytes)
    known = dict(_local_chunks(disk, state))
    for file in release.files:
        place = parts[_identity(file)][0] if _identity(file) in parts else f"{STORE}/{file.store_name}"
        for number, offset in file.placed(release.chunks):
            chunk = release.chunks[number]
            if place in found and not (offset < found[place] and _is_chunk(disk, place, offset, chunk)):
                disk.write(place, offset, _chunk(disk, known, source, index, number))
            known.setdefault(chunk.sha256, (place, offset))
    source.finish()
    disk.sync_all()
    for part, file in parts.values():
        if file_sha256(disk, part) != file.sha256:
            raise RefusedError(f"{file.path}: its chunks do not give the signed file; the bundle is wrong")
        disk.set_mode(part, file.mode)
        if file.is_shared:
            disk.rename(part, f"{STORE}/{file.store_name}")
    return {file.path: part for part, file in parts.values() if not file.is_shared}


def _identity(file: ReleaseFile) -> str:
    """Files of one identity are one file: in the store by content and mode, else by path."""
    return file.store_name if file.is_shared else file.path


def _check_space(disk: DiskOperations, needed: int) -> None:
    free = disk.free_bytes()
    if free < needed + _RESERVE_BYTES:
        raise SpaceError(
            f"the release needs {needed:,} bytes and {_RESERVE_BYTES:,} in reserve, the disk has {free:,}; make room"
        )


def _local_chunks(disk: DiskOperations, state: State) -> Iterator[tuple[str, tuple[str, int]]]:
    """Where the chunks of the good release lie."""
    if state.good is None:
        return
    index = read_index(disk, state.good)
    for file in index.release.files:
        for number, offset in file.placed(index.release.chunks):
            yield index.release.chunks[number].sha256, (f"{RELEASES}/{state.good}/{file.path}", offset)


def _is_chunk(disk: DiskOperations, path: str, offset: int, chunk: Chunk) -> bool:
    data = disk.read(path, offset, chunk.bytes)
    return data is not None and hashlib.sha256(data).hexdigest() == chunk.sha256


def _chunk(
    disk: DiskOperations, known: dict[str, tuple[str, int]], source: ChunkSource, index: SignedIndex, number: int
) -> bytes:
    """A chunk from this device, or from the bundle where it is not here or rotten; its hash was compared."""
    chunk = index.release.chunks[number]
    if (local := _local(disk, known, chunk.sha256, chunk.bytes)) is not None:
        return local
    data = source.chunk(number)
    if data is None:
        raise RefusedError(f"chunk {chunk.sha256} is neither here nor in the bundle; install the full bundle")
    name = hashlib.sha256(data).hexdigest()
    for one in chunk.subtractions:
        if one.sha256 == name:
            base = _local(disk, known, one.base, chunk.bytes)
            if base is None:
                raise RefusedError(f"chunk {one.base}, the base of another, is not here; install the full bundle")
            data = added(base, data)
    if len(data) != chunk.bytes or hashlib.sha256(data).hexdigest() != chunk.sha256:
        raise RefusedError(f"chunk {chunk.sha256} is damaged in the bundle; copy the bundle again")
    return data


def _local(disk: DiskOperations, known: dict[str, tuple[str, int]], sha256: str, num_bytes: int) -> bytes | None:
    """A chunk that this device has, and has not lost a bit of."""
    if sha256 not in known:
        return None
    path, offset = known[sha256]
    data = disk.read(path, offset, num_bytes)
    return data if data is not None and hashlib.sha256(data).hexdigest() == sha256 else None


def file_sha256(disk: DiskOperations, path: str) -> str | None:
    """The sha256 of a file; None where there is none."""
    size, digest = disk.size(path), hashlib.sha256()
    if size is None:
        return None
    for offset in range(0, size, MOST_CHUNK_BYTES):
        digest.update(disk.read(path, offset, MOST_CHUNK_BYTES) or b"")
    return digest.hexdigest()


def _publish(disk: DiskOperations, candidate: Candidate, own: dict[str, str]) -> None:
    """The release has its folder, complete; `own` are the places of files that are moved into it, by their paths."""
    name = candidate.index.name
    folder = f"{RELEASES}/.new-{name}"
    made = {""}
    disk.make_folder(folder)
    for file in candidate.index.release.files:
        parts = file.path.split("/")[:-1]
        for depth in range(1, len(parts) + 1):
            if (parent := "/".join(parts[:depth])) not in made:
                disk.make_folder(f"{folder}/{parent}")
                made.add(parent)
        if file.is_shared:
            disk.link(f"{STORE}/{file.store_name}", f"{folder}/{file.path}")
        else:
            disk.rename(own[file.path], f"{folder}/{file.path}")
    disk.create(f"{folder}/{INDEX_NAME}", candidate.index.content)
    disk.create(f"{folder}/{TARGETS_NAME}", candidate.targets)
    disk.sync_all()
    disk.rename(folder, f"{RELEASES}/{name}")
    disk.sync_folder(RELEASES)
