"""Chunks that a bundle carries as differences from those of an earlier release."""

from __future__ import annotations

import lzma
import random
from pathlib import Path

import pytest

from edgephi_agent.disk import Disk
from edgephi_agent.errors import RefusedError
from edgephi_agent.index import SignedIndex
from edgephi_agent.install import Candidate, install
from edgephi_agent.lifecycle import commit
from edgephi_agent.subtraction import added, subtracted
from support.releases import MadeRelease, MemoryBundle, make_release, sha256

_RNG = random.Random(5)
_OLD = _RNG.randbytes(3000)
_NEW = bytes((value + (at % 50 == 0)) % 256 for at, value in enumerate(_OLD))


@pytest.mark.parametrize("num_bytes", [1, 2, 7, 1000])
def test_what_is_added_is_what_was_subtracted(num_bytes: int):
    for _ in range(50):
        new, old = _RNG.randbytes(num_bytes), _RNG.randbytes(num_bytes)
        carried = subtracted(new, old)
        assert added(old, carried) == new
        assert lzma.decompress(carried) == bytes((a - b) % 256 for a, b in zip(new, old, strict=True))


@pytest.mark.parametrize(
    "carried",
    [
        b"no xz",
        subtracted(b"12345", b"12345"),
        subtracted(b"1", b"1"),
        lzma.compress(bytes(1 << 20)),
        subtracted(b"1234", b"1234")[:20],
    ],
    ids=["no xz", "too long", "too short", "a bomb", "cut off"],
)
def test_what_is_no_difference_of_this_size_is_refused(carried: bytes):
    with pytest.raises(RefusedError, match="difference"):
        added(b"abcd", carried)


def _update(base: bytes = _OLD) -> MadeRelease:
    """A release whose one new chunk has a difference from the base."""
    carried = subtracted(_NEW, base)
    made = make_release(2, {"model/w": [_NEW]})
    number = made.contents.index(_NEW)
    form = {"base": sha256(base), "sha256": sha256(carried), "bytes": len(carried)}
    chunks = [
        {"sha256": chunk.sha256, "bytes": chunk.bytes, "subtractions": [form] if at == number else []}
        for at, chunk in enumerate(made.index.release.chunks)
    ]
    index = make_release(2, {"model/w": [_NEW]}, chunks=chunks).index
    return MadeRelease(index, tuple(carried if at == number else one for at, one in enumerate(made.contents)))


def _install(disk: Disk, made: MadeRelease) -> str:
    install(disk, Candidate(index=made.index, targets=b"", epoch=1), MemoryBundle(made))
    return made.index.name


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    found = Disk(tmp_path)
    _install(found, make_release(1, {"model/w": [_OLD]}))
    commit(found)
    return found


def test_a_difference_gives_the_signed_chunk_on_a_device_with_its_base(disk: Disk, tmp_path: Path):
    name = _install(disk, _update())
    assert (tmp_path / f"releases/{name}/model/w").read_bytes() == _NEW


def test_a_device_whose_base_is_rotten_or_another_asks_for_the_full_bundle(disk: Disk, tmp_path: Path):
    with pytest.raises(RefusedError, match="the base of another, is not here; install the full bundle"):
        _install(disk, _update(_RNG.randbytes(3000)))
    weights = next(tmp_path.glob("releases/1-*/model/w"))
    weights.chmod(0o644)
    weights.write_bytes(b"rotten" + _OLD[6:])
    with pytest.raises(RefusedError, match="install the full bundle"):
        _install(disk, _update())


def test_a_changed_difference_is_refused(disk: Disk):
    made = _update()
    damaged = tuple(one[:-1] + bytes([one[-1] ^ 1]) if one.startswith(b"\xfd7z") else one for one in made.contents)
    with pytest.raises(RefusedError, match="is damaged in the bundle; copy the bundle again"):
        _install(disk, MadeRelease(SignedIndex.read(made.index.content), damaged))
