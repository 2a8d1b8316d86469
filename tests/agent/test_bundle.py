"""Bundles are read strictly: whatever is not in its place is refused, and nothing unverified reaches the store."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from edgephi_agent.bundle import Bundle, FolderEntries
from edgephi_agent.disk import Disk
from edgephi_agent.errors import RefusedError
from edgephi_agent.index import SignedIndex
from edgephi_agent.install import Candidate, install
from edgephi_agent.tar_entries import EntryReader, header, padding
from support.releases import make_release
from support.signing import entries_of, tar, write_folder

MADE = make_release(1, {"model/w.bin": [b"one" * 400, b"two" * 300], "app/a.py": [b"one" * 400, b"print"]})
ENTRIES = entries_of(MADE)
WHOLE = tar(ENTRIES)
_FIRST_CHUNK = 3


def _install(disk: Disk, bundle: Bundle) -> None:
    """As the command does, signatures aside."""
    if bundle.index != MADE.index.content:
        raise RefusedError("another index")
    bundle.trust_order(MADE.index)
    install(disk, Candidate(index=SignedIndex.read(bundle.index), targets=bundle.targets, epoch=1), bundle)


def _from_tar(content: bytes, disk: Disk) -> None:
    _install(disk, Bundle.read(EntryReader(io.BytesIO(content))))


def test_a_bundle_is_installed_from_a_file_and_from_a_folder(tmp_path: Path):
    for name in ("file", "folder"):
        disk = Disk(tmp_path / name)
        disk.root.mkdir()
        if name == "file":
            _from_tar(WHOLE, disk)
        else:
            _install(disk, Bundle.read(FolderEntries(write_folder(tmp_path / "stick", ENTRIES))))
        assert (disk.root / "current/app/a.py").read_bytes() == b"one" * 400 + b"print"
        assert (disk.root / "current/model/w.bin").read_bytes() == b"one" * 400 + b"two" * 300


def test_any_tar_reads_a_bundle():
    with tarfile.open(fileobj=io.BytesIO(WHOLE)) as archive:
        assert [(one.name, one.size) for one in archive] == [(name, len(data)) for name, data in ENTRIES]


def _with(place: int, *entries: tuple[str, bytes]) -> bytes:
    return tar([*ENTRIES[:place], *entries, *ENTRIES[place + 1 :]])


def _foreign_header(**fields: object) -> bytes:
    """The first entry as Python's tarfile writes it, with these fields."""
    info = tarfile.TarInfo(ENTRIES[0][0])
    info.size = len(ENTRIES[0][1])
    for name, value in fields.items():
        setattr(info, name, value)
    return info.tobuf(tarfile.USTAR_FORMAT) + WHOLE[512:]


def _with_padding(byte: bytes) -> bytes:
    """The first entry is followed by this instead of zeros."""
    name, data = ENTRIES[0]
    return header(name, len(data)) + data + byte * len(padding(len(data))) + tar(ENTRIES[1:])


_CHUNK = ENTRIES[_FIRST_CHUNK]
CASES: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "no signature": lambda: tar([ENTRIES[0], *ENTRIES[2:]]),
    "no index": lambda: tar([*ENTRIES[:2], *ENTRIES[3:]]),
    "signature behind the index": lambda: tar([ENTRIES[0], ENTRIES[2], ENTRIES[1], *ENTRIES[3:]]),
    "a root of another number": lambda: _with(0, ("metadata/2.root.json", ENTRIES[0][1])),
    "65 roots": lambda: tar([(f"metadata/{n}.root.json", b"{}") for n in range(1, 66)] + ENTRIES[1:]),
    "a huge root": lambda: _with(0, (ENTRIES[0][0], bytes(40_000))),
    "an index of a terabyte": lambda: tar(ENTRIES[:2])[:-1024] + header("release.json", 1 << 32),
    "a chunk of a gigabyte": lambda: tar(ENTRIES[:3])[:-1024] + header(_CHUNK[0], 1 << 30),
    "an entry that the index lacks": lambda: _with(_FIRST_CHUNK, ("chunks/" + "0" * 64, b"x")),
    "a chunk twice": lambda: _with(_FIRST_CHUNK, _CHUNK, _CHUNK),
    "chunks in another order": lambda: tar([*ENTRIES[:3], *reversed(ENTRIES[3:])]),
    "a chunk left out": lambda: tar([*ENTRIES[:3], *ENTRIES[4:]]),
    "a chunk of another length": lambda: _with(_FIRST_CHUNK, (_CHUNK[0], _CHUNK[1] + b"x")),
    "a changed chunk": lambda: _with(_FIRST_CHUNK, (_CHUNK[0], bytes(len(_CHUNK[1])))),
    "a path out of the folder": lambda: _with(_FIRST_CHUNK, ("../../etc/passwd", b"x")),
    "an absolute path": lambda: _with(_FIRST_CHUNK, ("/etc/passwd", b"x")),
    "an entry behind the last chunk": lambda: tar([*ENTRIES, ("chunks/more", b"x")]),
    "bytes behind the end": lambda: WHOLE + b"x",
    "bytes between entries": lambda: WHOLE.replace(
        padding(len(ENTRIES[0][1])), b"x" * len(padding(len(ENTRIES[0][1]))), 1
    ),
    "a link": lambda: _foreign_header(type=tarfile.SYMTYPE, linkname="/etc/passwd", mode=0o444),
    "a device": lambda: _foreign_header(type=tarfile.CHRTYPE, mode=0o444),
    "an owner": lambda: _foreign_header(uid=0, uname="root", mode=0o444),
    "a file that is no bundle": lambda: b"PK\3\4" + bytes(4000),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_not_a_bundle_is_refused_and_the_store_is_unchanged(case: str, tmp_path: Path):
    with pytest.raises(RefusedError):
        _from_tar(CASES[case](), Disk(tmp_path))
    assert not os.path.exists(tmp_path / "current")
    assert Disk(tmp_path).names("store") == []


def _truncated(step: int) -> list[int]:
    return list(range(0, len(WHOLE) - 1, step))


def test_a_bundle_that_ends_early_anywhere_is_refused(tmp_path: Path):
    for number, length in enumerate(_truncated(512)):
        place = tmp_path / str(number)
        place.mkdir()
        with pytest.raises(RefusedError):
            _from_tar(WHOLE[:length], Disk(place))
        assert Disk(place).names("store") == []


def _with_changed_bit(entries: list[tuple[str, bytes]], number: int, bit: int) -> bytes:
    name, data = entries[number]
    changed = bytes([*data[: bit // 8], data[bit // 8] ^ 1 << bit % 8, *data[bit // 8 + 1 :]])
    return tar([*entries[:number], (name, changed), *entries[number + 1 :]])


def test_one_changed_bit_of_each_chunk_is_refused(tmp_path: Path):
    for number, (_, data) in enumerate(ENTRIES[_FIRST_CHUNK:], start=_FIRST_CHUNK):
        disk = Disk(tmp_path / str(number))
        disk.root.mkdir()
        with pytest.raises(RefusedError, match="is damaged in the bundle; copy the bundle again"):
            _from_tar(_with_changed_bit(ENTRIES, number, 4 * len(data)), disk)
        assert disk.names("store") == []


@pytest.mark.slow
def test_every_changed_bit_of_a_chunk_is_refused(tmp_path: Path):
    disk = Disk(tmp_path)
    for number, (_, data) in enumerate(ENTRIES[_FIRST_CHUNK:], start=_FIRST_CHUNK):
        for bit in range(8 * len(data)):
            with pytest.raises(RefusedError, match="is damaged in the bundle"):
                _from_tar(_with_changed_bit(ENTRIES, number, bit), disk)
    assert disk.names("store") == []


def test_a_link_in_a_folder_is_refused(tmp_path: Path):
    folder = write_folder(tmp_path / "stick", ENTRIES)
    (folder / "release.json").rename(folder / "other.json")
    (folder / "release.json").symlink_to("other.json")
    with pytest.raises(RefusedError, match="is no regular file"):
        Bundle.read(FolderEntries(folder))


def test_a_folder_with_a_stranger_among_the_chunks_is_refused(tmp_path: Path):
    folder = write_folder(tmp_path / "stick", [*ENTRIES, ("chunks/readme.txt", b"x")])
    (tmp_path / "device").mkdir()
    with pytest.raises(RefusedError, match=r"chunks/readme\.txt: is not the entry"):
        _install(Disk(tmp_path / "device"), Bundle.read(FolderEntries(folder)))
