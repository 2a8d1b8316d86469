"""Tags and padding that stand before, between and behind streams, and are no audio."""

from __future__ import annotations

import re
from collections.abc import Iterator

from edgephi.audio.containers.source import Source, skip_zeros

#: How the files begin that can be read, as far as that distinguishes them from samples, to find the next of joined
#: files.
#: MP3 has no mark of its own but a tag or a header frame.
NEXT_FILE = re.compile(
    rb"(?:RIFF|RIFX|RF64|BW64)....WAVE(?:fmt |ds64|JUNK|junk|LIST|bext|PAD |FLLR|fact|PEAK|id3 |iXML|cue |minf)"
    rb"|FORM....AIF[FC](?:COMM|FVER|COMT|NAME|AUTH|ANNO|MARK|INST|ID3 |APPL|CHAN|\(c\) )"
    rb"|fLaC[\x00\x80]\x00\x00\x22|caff\x00\x01\x00\x00desc|OggS\x00\x02\x00{8}"
    rb"|riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00|\.snd\x00\x00.[\x18-\xff]....\x00\x00\x00[\x01-\x1b]"
    rb"|dns\.[\x18-\xff].\x00\x00....[\x01-\x1b]\x00\x00\x00"
    rb"|ID3[\x02-\x04]\x00[\x00\x10\x20\x40\x80\xc0\xe0][\x00-\x0f][\x00-\x7f]{3}"
    rb"|\xff[\xf2-\xf7\xfa\xfb][\x10-\xef].(?:.{9}|.{11}|.{17}|.{19}|.{32}|.{34})"
    rb"(?:Xing|Info)\x00\x00\x00[\x00-\x0f]"
    rb"|\x1a\x45\xdf\xa3.{1,8}\x42[\x82\x86]|\x00\x00\x00.ftyp[\x20-\x7e]{4}",
    re.DOTALL,
)


#: A fixed part of each beginning, and how far into it that may stand: searching for these is many times as fast.
_ANCHORS = {
    b"WAVE": (8,),
    b"AIF": (8,),
    b"fLaC": (0,),
    b"caff": (0,),
    b"OggS\x00\x02": (0,),
    b"riff\x2e\x91": (0,),
    b".snd\x00\x00": (0,),
    b"dns.": (0,),
    b"ID3": (0,),
    b"Xing\x00\x00\x00": (13, 15, 21, 23, 36, 38),
    b"Info\x00\x00\x00": (13, 15, 21, 23, 36, 38),
    b"\x1a\x45\xdf\xa3": (0,),
    b"ftyp": (4,),
}
_LONGEST = 64  # bytes of a beginning
_WINDOW_BYTES = 1 << 20


def find_next_file(source: Source, start: int, end: int) -> int | None:
    """Where between two places the first file begins that `NEXT_FILE` knows; None if none does."""
    while start < end:
        window = source.read_at(start, min(_WINDOW_BYTES, end - start))
        found = [at for anchor, offsets in _ANCHORS.items() for at in _matches(window, anchor, offsets)]
        if found:
            return start + min(found)
        if len(window) < _WINDOW_BYTES:
            return None
        start += len(window) - _LONGEST
    return None


def _matches(window: bytes, anchor: bytes, offsets: tuple[int, ...]) -> Iterator[int]:
    """The first beginning of a file around an anchor."""
    at = window.find(anchor)
    while at >= 0:
        starts = [at - offset for offset in offsets if at >= offset and NEXT_FILE.match(window, at - offset)]
        if starts:
            yield min(starts)
            return
        at = window.find(anchor, at + 1)


def skip_tags(source: Source, start: int) -> int:
    """The first place behind tags (ID3v1, ID3v2, APE, Lyrics3) and zero bytes."""
    while start < source.size:
        behind = _behind_tag(source, start, source.read_at(start, 32))
        if behind == start:
            behind = skip_zeros(source, start, source.size)
        if behind == start:
            break
        start = min(behind, source.size)
    return start


def _behind_tag(source: Source, start: int, head: bytes) -> int:
    if head[:3] == b"ID3" and len(head) >= 10 and head[3] < 0xFF and max(head[6:10]) < 0x80:
        size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
        return start + 10 + size + (10 if head[5] & 0x10 else 0)
    if head[:3] == b"TAG":
        return start + (227 if head[3:4] == b"+" else 128)
    if head[:8] == b"APETAGEX" and len(head) >= 24:
        size, flags = int.from_bytes(head[12:16], "little"), int.from_bytes(head[20:24], "little")
        return start + size + (32 if flags & 1 << 29 else 0) if flags & 1 << 29 else start + 32
    if head[:11] == b"LYRICSBEGIN":
        found = source.read_at(start, 1 << 17).find(b"LYRICS200")
        return start if found < 0 else start + found + 9
    return start
