"""A disk that logs every write and flush below its file system, and what is on it when the power goes at any of them.

qemu-storage-daemon shows the image of a disk as a file, by FUSE and its driver blklogwrites; ext4 lies on a loop device
on that file. A disk may lose what was written since its last flush, each block of 4 KiB by itself, and nothing else.
"""

from __future__ import annotations

import random
import shutil
import struct
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.simulated_disk import Survival

_BLOCK_BYTES, _SECTOR_BYTES = 4096, 512
_MAGIC = 0x6A736677736872  # of dm-log-writes, whose format the log has
_FLUSH = 1
_START_S = 30
#: The file system writes by itself only after a minute: until then only what a program syncs is on the disk.
_OPTIONS = "loop,commit=60"


@dataclass(frozen=True, slots=True)
class Entry:
    """A write, or a flush where `data` is empty; `offset` is in bytes."""

    offset: int
    data: bytes

    @property
    def is_flush(self) -> bool:
        """Whether what was written before is on the disk from here on."""
        return not self.data


@dataclass(frozen=True, slots=True)
class LoggedDisk:
    """A mounted file system, and the log of the disk below it."""

    folder: Path
    log: Path

    def entries(self) -> list[Entry]:
        """What was written and flushed until now, in its order."""
        content = self.log.read_bytes()
        magic, version, _, sector_bytes = struct.unpack_from("<QQQI", content)
        assert (magic, version, sector_bytes) == (_MAGIC, 1, _SECTOR_BYTES)
        found, place = [], _SECTOR_BYTES
        while place < len(content):
            sector, count, flags, _ = struct.unpack_from("<QQQQ", content, place)
            assert flags == (0 if count else _FLUSH), "neither a write nor a flush"
            place += _SECTOR_BYTES
            found.append(Entry(sector * _SECTOR_BYTES, content[place : place + count * _SECTOR_BYTES]))
            place += count * _SECTOR_BYTES
        return found


def make_image(image: Path, num_bytes: int) -> None:
    """An empty ext4; everything of it is written now, and nothing later."""
    with image.open("wb") as stream:
        stream.truncate(num_bytes)
    lazy = "lazy_itable_init=0,lazy_journal_init=0"
    _must("mke2fs", "-q", "-t", "ext4", "-b", _BLOCK_BYTES, "-E", lazy, image)


def copy_image(image: Path, copy: Path) -> Path:
    """Without the space of what is empty."""
    _must("cp", "--sparse=always", image, copy)
    return copy


@contextmanager
def mounted(image: Path, folder: Path) -> Iterator[Path]:
    """The file system of an image inside the block; its journal is replayed, as after each power cut."""
    folder.mkdir(exist_ok=True)
    _must("mount", "-t", "ext4", "-o", _OPTIONS, image, folder)
    try:
        yield folder
    finally:
        _must("umount", folder)


@contextmanager
def logged(image: Path, place: Path) -> Iterator[LoggedDisk]:
    """The same on a disk that logs; `place` is an empty folder for its files.

    Raises:
        AssertionError: The disk does not start.
    """
    log, shown, errors, started = (place / name for name in ("log", "disk", "errors", "pid"))
    for path in (log, shown):
        path.touch()
    nodes = (
        f"driver=file,node-name=image,filename={image}",
        f"driver=file,node-name=log,filename={log}",
        f"driver=blklogwrites,node-name=logged,file=image,log=log,log-sector-size={_SECTOR_BYTES}",
    )
    export = f"type=fuse,id=disk,node-name=logged,mountpoint={shown},writable=on"
    options = [one for node in nodes for one in ("--blockdev", node)]
    command = ["qemu-storage-daemon", *options, "--export", export, "--pidfile", str(started)]
    with errors.open("w") as stream, subprocess.Popen(command, stderr=stream) as process:
        try:
            ends_s = time.monotonic() + _START_S
            while not started.exists():
                is_starting = process.poll() is None and time.monotonic() < ends_s
                assert is_starting, errors.read_text()
                time.sleep(0.02)
            with mounted(shown, place / "mounted") as folder:
                yield LoggedDisk(folder, log)
        finally:
            process.terminate()


def write_after_cut(image: Path, entries: Sequence[Entry], survival: Survival, rng: random.Random) -> None:
    """Change the image from before the entries into that after the power went right behind the last of them."""
    flushed = max((number for number, entry in enumerate(entries) if entry.is_flush), default=0)
    with image.open("r+b") as stream:
        for number, entry in enumerate(entries):
            for start in range(0, len(entry.data), _BLOCK_BYTES):
                if number < flushed or survival == "all" or (survival == "some" and rng.random() < 0.5):
                    stream.seek(entry.offset + start)
                    stream.write(entry.data[start : start + _BLOCK_BYTES])


def check_file_system(image: Path) -> None:
    """The file system of an image whose journal was replayed has no damage: else the cut was none that a disk makes.

    Raises:
        AssertionError: It has.
    """
    _must("e2fsck", "-f", "-n", image)


def _must(*command: object) -> None:
    program = shutil.which(str(command[0])) or f"/usr/sbin/{command[0]}"
    done = subprocess.run([program, *map(str, command[1:])], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, (command, done.stdout, done.stderr)
