"""Containers that the base installation does not read: recognised and named, so that a refusal can say what it met."""

from __future__ import annotations

from edgephi.audio.containers.source import Source
from edgephi.base.file_kind import AMR, ASF, FLV, MONKEYS_AUDIO, MP4_BOXES

_MP4_CODECS = {b"mp4a": "AAC", b"alac": "ALAC", b"Opus": "Opus", b"samr": "AMR", b"sawb": "AMR-WB", b"fLaC": "FLAC"}
_MP4_CODECS |= {b"ac-3": "AC-3", b"ec-3": "E-AC-3", b"sowt": "PCM", b"twos": "PCM", b"lpcm": "PCM", b".mp3": "MP3"}
_MARKS = {
    AMR: "AMR",
    ASF: "WMA (ASF)",
    b"wvpk": "WavPack",
    MONKEYS_AUDIO: "Monkey's Audio",
    b"TTA1": "TTA",
    b"DSD ": "DSD",
    b"FRM8": "DSD",
    FLV: "FLV",
    b"ADIF": "AAC (ADIF)",
    b"MThd": "MIDI",
    b"\x0b\x77": "AC-3",
    b"#!SILK": "SILK",
    b".RMF": "RealMedia",
}
_SEARCHED_BYTES = 1 << 20


def name_of(source: Source, start: int) -> str | None:
    """The format that begins there, such as `MP4 with AAC audio`; None where it is nothing that is known."""
    head = source.read_at(start, 16)
    if head[4:8] in MP4_BOXES:
        return _name_mp4(source, start, head)
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "AVI"
    if head[:1] == b"\xff" and head[1:2] and head[1] & 0xF6 == 0xF0:
        return "AAC (ADTS)"
    if head[:1] == b"\x47" and source.read_at(start + 188, 1) == b"\x47" == source.read_at(start + 376, 1):
        return "MPEG transport stream"
    return next((name for mark, name in _MARKS.items() if head.startswith(mark)), None)


def _name_mp4(source: Source, start: int, head: bytes) -> str:
    """By the first audio codec whose name stands in the description of its samples."""
    brand = head[8:12] if head[4:8] == b"ftyp" else b"qt  "
    kind = "QuickTime" if brand == b"qt  " else "3GP" if brand[:2] == b"3g" else "MP4"
    reaches = (start, max(start, source.size - _SEARCHED_BYTES))
    for window in (source.read_at(reach, _SEARCHED_BYTES) for reach in reaches):
        at = window.find(b"stsd")
        while at >= 0:
            codec = _MP4_CODECS.get(window[at + 16 : at + 20])
            if codec:
                return f"{kind} with {codec} audio"
            at = window.find(b"stsd", at + 4)
    return kind


def mp4_end(source: Source, start: int) -> int:
    """Where an MP4 file ends: where its boxes do, or a joined one begins."""
    at = start
    while at < source.size:
        head = source.read_at(at, 16)
        size = int.from_bytes(head[:4], "big")
        if size == 1:
            size = int.from_bytes(head[8:16], "big")
        if size == 0:
            return source.size
        if size < 8 or len(head) < 8 or not head[4:8].isascii() or (at > start and head[4:8] == b"ftyp"):
            return at
        at += size
    return source.size
