"""The first bytes of media files, and whether a file is a recording, an image or a film by them."""

from __future__ import annotations

#: How many bytes of a file `media_kind` needs.
HEAD_BYTES = 64

#: The first four bytes of files by their format.
RIFF, W64, AIFF, AU = (b"RIFF", b"RIFX", b"RF64", b"BW64"), b"riff", b"FORM", (b".snd", b"dns.")
CAF, FLAC, OGG, MATROSKA = b"caff", b"fLaC", b"OggS", b"\x1aE\xdf\xa3"
ASF, FLV, AMR, MONKEYS_AUDIO = b"0&\xb2u\x8ef\xcf\x11", b"FLV\x01", b"#!AMR", b"MAC "
#: Bytes 4 to 8 of an MP4 or QuickTime file.
MP4_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"styp", b"moof", b"pnot")
_AUDIO = (*RIFF, W64, AIFF, *AU, CAF, FLAC, OGG, b"ID3", AMR, MONKEYS_AUDIO)
_IMAGE = (b"\x89PNG\r\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*", b"qoif", b"\0\0\0\x0cJXL ")
_FILM = (MATROSKA, FLV, b"\0\0\x01\xba", ASF)


def media_kind(head: bytes) -> str | None:
    """The kind of file that begins with these bytes: `a recording`, `an image`, `a film`, or None for anything else.

    Args:
        head: At least HEAD_BYTES bytes of a file that has so many.
    """
    if head.startswith(b"RIFF"):
        return {b"WAVE": "a recording", b"WEBP": "an image"}.get(head[8:12], "a film")
    if head[4:8] in MP4_BOXES and not head[:2].strip(b"\0"):
        return {b"avif": "an image", b"heic": "an image", b"mif1": "an image", b"M4A ": "a recording"}.get(
            head[8:12], "a film"
        )
    for kind, beginnings in (("a recording", _AUDIO), ("an image", _IMAGE), ("a film", _FILM)):
        if head.startswith(beginnings):
            return kind
    if head.startswith(b"BM") and len(head) >= 26 and not any(head[6:10]):
        return "an image"
    return "a recording" if _begins_with_frames(head) else None


def _begins_with_frames(head: bytes) -> bool:
    """Frames of MPEG audio (MP3, AAC in ADTS) have no header before them but eleven set bits."""
    is_synchronous = len(head) >= 4 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0
    return is_synchronous and head[1] & 0x18 != 0x08 and head[:2] != b"\xff\xfe" and head[2] & 0xF0 != 0xF0
