"""Frames of MPEG audio (layers I to III): their headers, and the header frame that states how many there are."""

from __future__ import annotations

from dataclasses import dataclass

from edgephi.audio.containers.source import Source

MARKS = (b"Xing", b"Info")
_V1_RATES = (44100, 48000, 32000)
_BITRATES = {
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_BITRATES[2, 3] = _BITRATES[2, 2]
_SAMPLES = {(1, 1): 384, (1, 2): 1152, (1, 3): 1152, (2, 1): 384, (2, 2): 1152, (2, 3): 576}


@dataclass(frozen=True, slots=True)
class Frame:
    """A header of four bytes, read.

    Attributes:
        size: Bytes of the frame, header included.
        samples: Of each channel.
        stream: Version, layer, rate and whether it is mono: the same in all frames of a stream.
        tag_start: Where a header frame's mark stands in it, as the decoder looks for it.
    """

    size: int
    samples: int
    stream: tuple[int, int, int, bool]
    tag_start: int


def parse(head: bytes) -> Frame | None:
    """The frame with this header; None where it is none."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version_bits, layer_bits = head[1] >> 3 & 3, head[1] >> 1 & 3
    bitrate_index, rate_index = head[2] >> 4, head[2] >> 2 & 3
    if version_bits == 1 or layer_bits == 0 or bitrate_index in (0, 15) or rate_index == 3 or head[3] & 3 == 2:
        return None
    version, layer = (1 if version_bits == 3 else 2), 4 - layer_bits
    rate = _V1_RATES[rate_index] >> (0 if version_bits == 3 else 1 if version_bits == 2 else 2)
    samples = _SAMPLES[version, layer]
    bits_per_s, padding = _BITRATES[version, layer][bitrate_index - 1] * 1000, head[2] >> 1 & 1
    size = (12 * bits_per_s // rate + padding) * 4 if layer == 1 else samples // 8 * bits_per_s // rate + padding
    is_mono = head[3] >> 6 == 3
    side = (17 if is_mono else 32) if version == 1 else (9 if is_mono else 17)
    checksum = 0 if head[1] & 1 else 2
    return Frame(size, samples, (version_bits, layer, rate, is_mono), 4 + side + checksum)


def frames_follow(source: Source, at: int) -> bool:
    """Whether several frames of one kind begin there: too many for chance."""
    stream = None
    for _ in range(4):
        frame = parse(source.read_at(at, 4))
        if frame is None or (stream is not None and frame.stream != stream):
            return False
        stream, at = frame.stream, at + frame.size
    return True


def stated_frames(body: bytes, frame: Frame) -> int | None:
    """The count that a header frame (Xing, Info or VBRI) states; 0 where it states none; None for a frame of audio."""
    for at in (frame.tag_start, frame.tag_start - 2):  # some writers count a checksum that is not there, or the reverse
        if body[at : at + 4] in MARKS:
            has_count = bool(int.from_bytes(body[at + 4 : at + 8], "big") & 1)
            return int.from_bytes(body[at + 8 : at + 12], "big") if has_count else 0
    if body[36:40] == b"VBRI":
        return int.from_bytes(body[50:54], "big")
    return None


def header_frame(head: bytes, count: int) -> bytes:
    """A header frame that states a count, for a stream whose frames begin with `head`."""
    for index in range(1, 15):
        changed = bytes([head[0], head[1] | 1, index << 4 | head[2] & 0x0C, head[3]])  # no checksum, no padding
        frame = parse(changed)
        if frame is not None and frame.size >= frame.tag_start + 12:
            body = changed + bytes(frame.tag_start - 4) + b"Xing" + (1).to_bytes(4, "big") + count.to_bytes(4, "big")
            return body + bytes(frame.size - len(body))
    raise AssertionError("every rate has a frame of 50 bytes")
