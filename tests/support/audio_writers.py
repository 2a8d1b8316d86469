"""Audio files written byte by byte, with any sizes in their headers: what recorders, pipes and power cuts leave."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

import numpy as np

W64_TAIL = b"\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"
W64_RIFF = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"


@dataclass(frozen=True, kw_only=True)
class Claims:
    """The sizes that a header states.

    Attributes:
        size: Bytes of samples; None for the truth.
        outer: Size of the whole; None for what follows from `size`.
        before: Chunks before the samples, as (kind, content).
        behind: Chunks behind them.
    """

    size: int | None = None
    outer: int | None = None
    before: tuple[tuple[bytes, bytes], ...] = ()
    behind: tuple[tuple[bytes, bytes], ...] = ()


TRUE = Claims()


@dataclass(frozen=True, kw_only=True)
class Pcm:
    """Samples as integers of 16 bits, or 32-bit floating point."""

    samples: np.ndarray = field(repr=False)  # float32 [n, channels]
    hertz: int = 16000
    is_float: bool = False

    @property
    def channels(self) -> int:
        return self.samples.shape[1]

    @property
    def width(self) -> int:
        return 4 if self.is_float else 2

    def packed(self, order: str) -> bytes:
        if self.is_float:
            return self.samples.astype(f"{order}f4").tobytes()
        return np.round(self.samples * 32767).astype(f"{order}i2").tobytes()


def chunk(kind: bytes, content: bytes, order: str = "<", size: int | None = None) -> bytes:
    """Kind, size, content and padding."""
    stated = struct.pack(f"{order}I", len(content) if size is None else size & 0xFFFFFFFF)
    return kind + stated + content + bytes(len(content) % 2)


def wav(pcm: Pcm, claims: Claims = TRUE, *, order: str = "<", is_64: bool = False) -> bytes:
    """RIFF, RIFX (`order` ">") or RF64."""
    data = pcm.packed(order)
    size = len(data) if claims.size is None else claims.size
    align = pcm.channels * pcm.width
    form = struct.pack(
        f"{order}HHIIHH", 3 if pcm.is_float else 1, pcm.channels, pcm.hertz, pcm.hertz * align, align, 8 * pcm.width
    )
    front = chunk(b"fmt ", form, order) + b"".join(chunk(*item, order) for item in claims.before)
    tail = b"".join(chunk(*item, order) for item in claims.behind)
    outer = 4 + len(front) + 8 + size + size % 2 + len(tail) if claims.outer is None else claims.outer
    if is_64:
        sizes = struct.pack("<QQQI", (outer + 36) & (1 << 64) - 1, size & (1 << 64) - 1, size // align, 0)
        return b"RF64\xff\xff\xff\xffWAVE" + chunk(b"ds64", sizes) + front + chunk(b"data", data, size=-1) + tail
    kind = b"RIFF" if order == "<" else b"RIFX"
    return (
        kind + struct.pack(f"{order}I", outer & 0xFFFFFFFF) + b"WAVE" + front + chunk(b"data", data, order, size) + tail
    )


def w64(pcm: Pcm, claims: Claims = TRUE) -> bytes:
    """Sony's Wave64."""
    data = pcm.packed("<")
    size = len(data) if claims.size is None else claims.size
    align = pcm.channels * pcm.width
    form = struct.pack(
        "<HHIIHH", 3 if pcm.is_float else 1, pcm.channels, pcm.hertz, pcm.hertz * align, align, 8 * pcm.width
    )

    def piece(kind: bytes, content: bytes, stated: int) -> bytes:
        return kind + W64_TAIL + struct.pack("<Q", stated & (1 << 64) - 1) + content + bytes(-len(content) % 8)

    body = b"wave" + W64_TAIL + piece(b"fmt ", form, 24 + len(form))
    body += b"".join(piece(kind, content, 24 + len(content)) for kind, content in claims.before)
    body += piece(b"data", data, 24 + size)
    body += b"".join(piece(kind, content, 24 + len(content)) for kind, content in claims.behind)
    outer = 24 + len(body) if claims.outer is None else claims.outer
    return W64_RIFF + struct.pack("<Q", outer & (1 << 64) - 1) + body


def aiff(pcm: Pcm, claims: Claims = TRUE) -> bytes:
    """AIFF of 16 bits; AIFF-C for floating point."""
    data = pcm.packed(">")
    size = len(data) if claims.size is None else claims.size
    exponent = pcm.hertz.bit_length() - 1
    rate = struct.pack(">HQ", 16383 + exponent, pcm.hertz << 63 - exponent)
    frames = size // (pcm.channels * pcm.width) & 0xFFFFFFFF
    common = struct.pack(">HIH", pcm.channels, frames, 8 * pcm.width) + rate
    common += b"fl32\x00\x00" if pcm.is_float else b""
    front = chunk(b"COMM", common, ">") + b"".join(chunk(*item, ">") for item in claims.before)
    tail = b"".join(chunk(*item, ">") for item in claims.behind)
    samples = chunk(b"SSND", bytes(8) + data, ">", 8 + size)
    outer = 4 + len(front) + 16 + size + len(tail) if claims.outer is None else claims.outer
    kind = b"AIFC" if pcm.is_float else b"AIFF"
    return b"FORM" + struct.pack(">I", outer & 0xFFFFFFFF) + kind + front + samples + tail


def au(pcm: Pcm, claims: Claims = TRUE, *, order: str = ">") -> bytes:
    """Sun's AU, with a comment of eight bytes."""
    data = pcm.packed(order)
    size = len(data) if claims.size is None else claims.size
    kind = b".snd" if order == ">" else b"dns."
    fields = (32, size & 0xFFFFFFFF, 6 if pcm.is_float else 3, pcm.hertz, pcm.channels)
    return kind + struct.pack(f"{order}5I", *fields) + b"comment\0" + data


def caf(pcm: Pcm, claims: Claims = TRUE) -> bytes:
    """Apple's CAF; the size -5 means an unknown length, -1."""
    data = pcm.packed(">")
    size = len(data) if claims.size is None else claims.size
    frame = pcm.channels * pcm.width
    form = struct.pack(">d4sIIIII", pcm.hertz, b"lpcm", 1 if pcm.is_float else 0, frame, 1, pcm.channels, 8 * pcm.width)

    def piece(kind: bytes, content: bytes, stated: int) -> bytes:
        return kind + struct.pack(">q", stated) + content

    front = piece(b"desc", form, 32) + b"".join(piece(kind, content, len(content)) for kind, content in claims.before)
    tail = b"".join(piece(kind, content, len(content)) for kind, content in claims.behind)
    return b"caff\x00\x01\x00\x00" + front + piece(b"data", bytes(4) + data, size + 4) + tail


def id3v2(content: bytes) -> bytes:
    """An ID3v2.4 tag of one private frame."""
    frame = b"PRIV" + _syncsafe(len(content)) + bytes(2) + content
    return b"ID3\x04\x00\x00" + _syncsafe(len(frame)) + frame


def id3v1() -> bytes:
    """The tag of 128 bytes."""
    return b"TAG" + b"a title".ljust(125, b"\0")


def ape() -> bytes:
    """An APEv2 tag with header and footer and one item."""
    item = struct.pack("<II", 5, 0) + b"Title\0" + b"hello"
    size = len(item) + 32
    head = b"APETAGEX" + struct.pack("<IIII", 2000, size, 1, 1 << 31 | 1 << 29) + bytes(8)
    foot = b"APETAGEX" + struct.pack("<IIII", 2000, size, 1, 1 << 31) + bytes(8)
    return head + item + foot


def _syncsafe(value: int) -> bytes:
    return bytes(value >> shift & 0x7F for shift in (21, 14, 7, 0))


def ogg_packets(data: bytes) -> list[bytes]:
    """The packets of an Ogg file of one stream, headers included."""
    packets, part, at = [], b"", 0
    while at < len(data):
        lacing = data[at + 27 : at + 27 + data[at + 26]]
        body = at + 27 + len(lacing)
        for size in lacing:
            part += data[body : body + size]
            body += size
            if size < 255:
                packets.append(part)
                part = b""
        at = body
    return packets


def ogg_pages(data: bytes) -> list[bytes]:
    """The pages of an Ogg file."""
    starts = []
    at = 0
    while at < len(data):
        starts.append(at)
        lacing = data[at + 27 : at + 27 + data[at + 26]]
        at += 27 + len(lacing) + sum(lacing)
    return [data[start:end] for start, end in zip(starts, [*starts[1:], len(data)], strict=True)]


def element(kind: int, content: bytes, *, is_live: bool = False) -> bytes:
    """An EBML element; a live one states no size."""
    head = kind.to_bytes((kind.bit_length() + 7) // 8, "big")
    size = b"\x01" + b"\xff" * 7 if is_live else struct.pack(">Q", 1 << 56 | len(content))
    return head + size + content


def webm(opus: bytes, *, is_live: bool, cluster_packets: int = 20, with_video: bool = False) -> bytes:
    """The packets of an Ogg file of Opus, as a browser's recorder writes them."""
    head, _, *packets = ogg_packets(opus)
    track = b"".join(
        element(kind, content)
        for kind, content in ((0xD7, b"\x02"), (0x83, b"\x02"), (0x86, b"A_OPUS"), (0x63A2, head))
    )
    tracks = element(0xAE, track)
    if with_video:
        video = element(0xD7, b"\x01") + element(0x83, b"\x01") + element(0x86, b"V_VP8")
        tracks = element(0xAE, video) + tracks
    body = element(0x1549A966, element(0x2AD7B1, b"\x0f\x42\x40")) + element(0x1654AE6B, tracks)
    for start in range(0, len(packets), cluster_packets):
        blocks = element(0xE7, b"\0")
        for number, packet in enumerate(packets[start : start + cluster_packets]):
            if with_video and number % 3 == 0:
                blocks += element(0xA3, b"\x81\0\0\0" + b"\x1f\x43video" * 9)
            blocks += element(0xA3, b"\x82" + struct.pack(">h", 20 * number) + b"\x80" + packet)
        body += element(0x1F43B675, blocks, is_live=is_live)
    return element(0x1A45DFA3, element(0x4286, b"\x01") + element(0x4282, b"webm")) + element(
        0x18538067, body, is_live=is_live
    )
