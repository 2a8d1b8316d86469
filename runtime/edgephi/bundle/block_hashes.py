"""A checksum for every block of the weight files, so that a look at some of them finds most damage while loading.

`blocks.json` is written by export. Its checksums are CRC-32, which differs for certain where up to 32 neighbouring bits
changed, and for all but one in four billion of other changes.
"""

from __future__ import annotations

import dataclasses
import json
import random
import time
import zlib
from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate, pairwise

from edgephi.base.errors import ArtifactError
from edgephi.base.json_file import decode, parse_json
from edgephi.bundle.folder_files import HeldFiles

BLOCKS_NAME = "blocks.json"
BLOCK_BYTES = 1 << 16
#: Of all files together: the first and the last block of each file, and one at random from each of so many stretches.
MOST_LOOKED_AT = 512
#: A slow disk that has none of it in memory is asked for less.
LONGEST_LOOK_S = 0.08
_DIGITS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class FileBlocks:
    """One file: eight hexadecimal digits for each block."""

    path: str
    crc32: str

    def __post_init__(self) -> None:
        if len(self.crc32) % _DIGITS or not set(self.crc32) <= set("0123456789abcdef"):
            raise ValueError(f"the checksums of {self.path} are not groups of eight hexadecimal digits")

    def __len__(self) -> int:
        return len(self.crc32) // _DIGITS

    def __getitem__(self, number: int) -> str:
        if not 0 <= number < len(self):
            raise IndexError(number)
        return self.crc32[number * _DIGITS : (number + 1) * _DIGITS]


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockHashes:
    """Everything `blocks.json` says."""

    block_bytes: int
    files: tuple[FileBlocks, ...]

    def __post_init__(self) -> None:
        if self.block_bytes < 1:
            raise ValueError(f"block_bytes is {self.block_bytes}; it must be a positive number")

    def to_json(self) -> str:
        """The text of `blocks.json`."""
        return json.dumps(dataclasses.asdict(self), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str) -> BlockHashes:
        """Parse and check the text of `blocks.json`.

        Raises:
            ArtifactError: Not JSON, an unknown or missing key, or a wrong type.
        """
        return decode(cls, parse_json(text, where), where)


class BlockSums:
    """The checksums of a file's blocks while the file is written."""

    def __init__(self) -> None:
        self._done: list[int] = []
        self._open, self._filled = 0, 0

    def update(self, data: bytes | memoryview) -> None:
        """Take in the next bytes."""
        view, start = memoryview(data), 0
        while start < len(view):
            part = view[start : start + BLOCK_BYTES - self._filled]
            self._open = zlib.crc32(part, self._open)
            self._filled += len(part)
            start += len(part)
            if self._filled == BLOCK_BYTES:
                self._done.append(self._open)
                self._open, self._filled = 0, 0

    def of(self, path: str) -> FileBlocks:
        """The checksums of everything so far, as those of the file `path`."""
        sums = [*self._done, *([self._open] if self._filled else [])]
        return FileBlocks(path=path, crc32="".join(f"{crc:08x}" for crc in sums))


def look(
    files: HeldFiles, blocks: BlockHashes, *, most: int = MOST_LOOKED_AT, longest_s: float = LONGEST_LOOK_S
) -> int:
    """Compare some blocks of every file with their checksums, others each time.

    Args:
        files: Of the model folder.
        blocks: What they should be.
        most: Stretches that one block is taken from each.
        longest_s: When to stop; at least the last block of each file was read by then.

    Returns:
        Blocks compared.

    Raises:
        ArtifactError: One differs. The message names the file.
        OSError: A file cannot be read.
    """
    end, count = time.monotonic() + longest_s, 0
    for ends, (file, number) in _chosen(blocks, most):
        if not ends and time.monotonic() > end:
            break
        content = files.piece(file.path, number * blocks.block_bytes, blocks.block_bytes)
        if f"{zlib.crc32(content):08x}" != file[number]:
            raise ArtifactError(
                f"{files.folder / file.path}: damaged near byte {number * blocks.block_bytes:,}; copy the model again "
                "(`edgephi verify` names every damaged file), or export it again"
            )
        count += 1
    return count


def _chosen(blocks: BlockHashes, most: int) -> list[tuple[bool, tuple[FileBlocks, int]]]:
    """Last and first block of every file, then one at random from each stretch of all, in random order."""
    files = [file for file in blocks.files if len(file)]
    ends = [(file, number) for file in files for number in sorted({len(file) - 1, 0}, reverse=True)]
    starts = list(accumulate(map(len, files), initial=0))
    stretches = min(most, starts[-1])
    bounds = [starts[-1] * i // stretches for i in range(stretches + 1)] if stretches else []
    chance = random.Random()
    some = [chance.randrange(low, high) for low, high in pairwise(bounds)]
    chance.shuffle(some)
    found = ((bisect_right(starts, place) - 1, place) for place in some)
    return [(True, place) for place in ends] + [(False, (files[i], place - starts[i])) for i, place in found]
