"""Chunks of RIFF and IFF files: an identifier, a size, and as many bytes, padded to an even number."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from edgephi.audio.containers.pcm import known_behind
from edgephi.audio.containers.source import Source
from edgephi.audio.containers.tags import NEXT_FILE

Order = Literal["little", "big"]

#: What writers put behind the samples; looked for at the end of files whose size is not believed.
_BEHIND = re.compile(
    rb"LIST|id3 |ID3 |cue |smpl|inst|bext|iXML|axml|fact|JUNK|junk|PEAK|plst|_PMX|afsp|DISP|acid|strc|umid|chna|levl"
    rb"|COMM|MARK|INST|NAME|AUTH|ANNO|COMT|APPL|\(c\) |AESD|MIDI|PAD |FLLR|minf|elm1|regn|cart|SAUR|LGWV"
)
TAIL_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Chunk:
    """Where a chunk's content is and how long it says it is; it may say more than the file holds."""

    kind: bytes
    start: int
    size: int

    @property
    def next_start(self) -> int:
        """Where the next one begins."""
        return self.start + self.size + self.size % 2


def chunk_at(source: Source, start: int, order: Order) -> Chunk | None:
    """The chunk whose header stands there; None where none does."""
    head = source.read_at(start, 8)
    if len(head) < 8 or not all(32 <= byte < 127 for byte in head[:4]):
        return None
    return Chunk(head[:4], start + 8, int.from_bytes(head[4:], order))


def chain_end(source: Source, start: int, order: Order) -> int | None:
    """Where the chunks that begin there end: the file's end, a joined file, a tag; None where they are none."""
    while start < source.size:
        chunk = chunk_at(source, start, order)
        if chunk is None or chunk.start + chunk.size > source.size or NEXT_FILE.match(source.read_at(start, 64)):
            return known_behind(source, start)
        start = chunk.next_start
    return min(start, source.size)


def samples_end(source: Source, start: int, end: int, order: Order) -> int:
    """Where samples of unknown number end: before the chunks at the file's end, if there are any."""
    reach = max(start, end - TAIL_BYTES)
    window = source.read_at(reach, end - reach)
    for found in _BEHIND.finditer(window):
        at = reach + found.start()
        chunk = chunk_at(source, at, order)
        if chunk is not None and at + 8 + chunk.size <= end and _is_chain(source, at, end, order):
            return at
    return end


def _is_chain(source: Source, start: int, end: int, order: Order) -> bool:
    while start < end - 1:
        chunk = chunk_at(source, start, order)
        if chunk is None or chunk.start + chunk.size > end:
            return False
        start = chunk.next_start
    return True
