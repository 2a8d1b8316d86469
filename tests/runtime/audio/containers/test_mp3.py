"""MP3 as it is found: tagged, padded, streamed, damaged."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from edgephi.audio.containers.mp3_frames import parse
from edgephi.audio.decoding import load_audio
from edgephi.base.errors import ConfigError
from support import audio_writers as writers
from support.audio_fuzz import encoded, without_header_frame

COVER = b"\xff\xd8\xff\xe0" + np.random.default_rng(3).bytes(40_000)


def _counted(hertz: int = 16000, channels: int = 1) -> tuple[bytes, float]:
    return encoded("MP3", "MPEG_LAYER_III", hertz, channels, 3)


def _plain(hertz: int = 16000, channels: int = 1) -> tuple[bytes, float]:
    data, seconds = _counted(hertz, channels)
    return without_header_frame(data), seconds


def _frames(data: bytes) -> list[bytes]:
    frames, at = [], 0
    while frame := parse(data[at : at + 4]):
        frames.append(data[at : at + frame.size])
        at += frame.size
    return frames


@pytest.mark.parametrize("make", [_counted, _plain])
@pytest.mark.parametrize(("hertz", "channels"), [(8000, 1), (16000, 2), (44100, 2), (48000, 1)])
@pytest.mark.parametrize(
    ("before", "behind"),
    [
        (b"", b""),
        (writers.id3v2(COVER), b""),
        (writers.id3v2(b"x") + writers.id3v2(b"y" * 999), writers.id3v1()),
        (b"", writers.ape() + writers.id3v1()),
        (bytes(2000), bytes(3000)),
        (writers.ape(), writers.id3v2(b"z" * 99)),
        (b"junk before" * 20, b""),
    ],
)
def test_an_intact_mp3_is_never_truncated(make, hertz: int, channels: int, before: bytes, behind: bytes):
    """Tags and cover images are bytes too; an estimate from the file's size promised their length as audio."""
    data, seconds = make(hertz, channels)
    waveform = load_audio(before + data + behind)
    assert waveform.duration_s == pytest.approx(seconds, abs=0.15)
    assert waveform.notes == ()


def test_a_variable_rate_without_a_count_is_read_whole():
    """An estimate from the first frame's bit rate may be far too short, which lost the end without a word."""
    quiet, loud = (_frames(encoded("MP3", "MPEG_LAYER_III", 44100, c, 3)[0]) for c in (1, 1))
    small = parse(quiet[5][:4])
    assert small is not None
    data = b"".join(frame for frame in [*quiet[1:], *loud[1:]])
    expected = (len(quiet) + len(loud) - 2) * small.samples / 44100
    assert load_audio(data).duration_s == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("junk", [b"\0" * 700, b"not sound " * 300, writers.id3v1(), b"\xff\xfb\x90" * 11])
def test_bytes_between_frames_are_passed_over(junk: bytes):
    """A lost packet of a radio stream costs a moment, not the rest of the hour."""
    frames = _frames(_plain()[0])
    middle = len(frames) // 2
    waveform = load_audio(b"".join(frames[:middle]) + junk + b"".join(frames[middle:]))
    assert waveform.duration_s == pytest.approx(len(frames) * 0.036, abs=0.04)


@pytest.mark.parametrize("part", [0.3, 0.6, 0.8])
def test_a_count_is_a_promise(part: float):
    data, _ = _counted()
    with pytest.raises(ConfigError, match=r"truncated; the header promises [\d,]+ samples, the file has [\d,]+: copy"):
        load_audio(data[: round(part * len(data))])


def test_without_a_count_a_cut_last_frame_is_reported():
    data, seconds = _plain()
    waveform = load_audio(data[:-30])
    assert waveform.duration_s == pytest.approx(seconds, abs=0.15)
    assert "its last frame is incomplete" in waveform.notes[0]


@pytest.mark.parametrize("mark", [b"Xing", b"Info", b"VBRI"])
@pytest.mark.parametrize("count", [None, 0])
def test_header_frames_of_all_kinds_count_and_hold_no_audio(mark: bytes, count: int | None):
    """A header frame that the decoder does not know would become a click, or its count not be seen."""
    frames = _frames(_plain()[0])
    number = len(frames) if count is None else count
    if mark == b"VBRI":
        body = bytes(32) + mark + struct.pack(">HHHII", 1, 0, 75, 9999, number)
    else:
        body = bytes(9) + mark + struct.pack(">II", 1, number)
    header = frames[3][:4] + body + bytes(max(0, len(frames[3]) - 4 - len(body)))
    waveform = load_audio(header + b"".join(frames))
    assert waveform.duration_s == pytest.approx(len(frames) * 0.036, abs=0.035)  # less the delay
    with pytest.raises(ConfigError, match="truncated"):
        load_audio(header.replace(struct.pack(">I", number), struct.pack(">I", 9000)) + b"".join(frames))


def test_mp3_in_wav_is_read():
    """Format tag 0x55, as radio stations store it."""
    data, seconds = _plain()
    form = struct.pack("<HHIIHHHHIHHH", 0x55, 1, 16000, 4000, 1, 0, 12, 1, 2, 144, 1, 1393)
    for size in (len(data), 0xFFFFFFFF):
        body = b"WAVE" + writers.chunk(b"fmt ", form) + writers.chunk(b"data", data, size=size)
        waveform = load_audio(b"RIFF" + struct.pack("<I", len(body)) + body)
        assert waveform.duration_s == pytest.approx(seconds, abs=0.15)
