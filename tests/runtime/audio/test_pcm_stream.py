"""Bytes through a pipe: the same samples as of a file, wherever they are cut, and one line for what cannot be used."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import soundfile

from edgephi.audio.pcm_stream import ENCODINGS, PcmFormat, open_pcm_stream
from edgephi.base.errors import ConfigError

RNG = np.random.default_rng(7)
STEREO = (0.3 * RNG.standard_normal((1_000, 2))).astype(np.float32).clip(-1, 1)


def wav(samples: np.ndarray = STEREO, subtype: str = "PCM_16", kind: str = "WAV") -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, 16_000, format=kind, subtype=subtype)
    return buffer.getvalue()


def reader(content: bytes, size: int = 37) -> Callable[[], bytes]:
    """Gives a few bytes a call, so that cuts come everywhere."""
    pieces: Iterator[bytes] = (content[start : start + size] for start in range(0, len(content), size))
    return lambda: next(pieces, b"")


def mono_of(content: bytes, raw: PcmFormat | None = None, size: int = 37, **options: int) -> np.ndarray:
    opened = open_pcm_stream(reader(content, size), "stdin", raw, **options)  # type: ignore[arg-type]
    return np.concatenate(list(opened.blocks))


@pytest.mark.parametrize("subtype", [name for name, _ in ENCODINGS.values()])
@pytest.mark.parametrize("kind", ["WAV", "WAVEX"])
@pytest.mark.parametrize("size", [1, 37, 10_000])
def test_a_wav_is_decoded_as_a_file_is(subtype: str, kind: str, size: int):
    content = wav(subtype=subtype, kind=kind)
    whole, _ = soundfile.read(io.BytesIO(content), dtype="float32")
    np.testing.assert_array_equal(mono_of(content, size=size), whole @ np.full(2, 0.5, np.float32))
    np.testing.assert_array_equal(mono_of(content, size=size, channel=2), whole[:, 1])


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_raw_samples_are_those_of_a_wav(encoding: str):
    subtype, _ = ENCODINGS[encoding]
    buffer = io.BytesIO()
    soundfile.write(buffer, STEREO, 16_000, format="RAW", subtype=subtype, endian="LITTLE")
    raw = PcmFormat(encoding=encoding, sample_rate_hz=16_000, num_channels=2)
    np.testing.assert_array_equal(mono_of(buffer.getvalue(), raw), mono_of(wav(subtype=subtype)))


@pytest.mark.parametrize("size", [0, 0x7FFFFFFF, 0xFFFFFFFF, 0x80000000])
def test_a_header_that_was_never_finished_is_read_to_the_end(size: int):
    content = wav()
    at = content.index(b"data") + 4
    whole = mono_of(content)
    np.testing.assert_array_equal(mono_of(content[:at] + struct.pack("<I", size) + content[at + 4 :]), whole)


def test_what_stands_behind_the_samples_is_no_audio():
    content = wav()
    np.testing.assert_array_equal(mono_of(content + b"LIST\x10\0\0\0" + b"x" * 16), mono_of(content))


def test_other_chunks_are_passed_over():
    content = wav()
    at = content.index(b"fmt ")
    odd = b"note" + struct.pack("<I", 3) + b"abc\0"
    np.testing.assert_array_equal(mono_of(content[:at] + odd + content[at:]), mono_of(content))


def test_a_stream_that_ends_too_soon_gives_what_came_and_knows_how_much_is_missing():
    opened = open_pcm_stream(reader(wav()[:-102]), "stdin")
    assert len(np.concatenate(list(opened.blocks))) == 974  # 102 bytes are 25 frames and a half
    assert opened.stream.missing_bytes == 102


def test_samples_are_there_before_the_next_bytes_are_read():
    """Nothing waits for a whole block: a caption would be late."""
    calls: list[int] = []
    content = reader(wav(), 444)

    def read() -> bytes:
        calls.append(len(calls))
        return content()

    opened = open_pcm_stream(read, "stdin")
    assert len(next(opened.blocks)) == 100
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "nothing came"),
        (b"RIFF", "ended within its header"),
        (wav()[:40], "ended within its header"),
        (wav(kind="FLAC"), "is no WAV"),
        (b"RIFX" + wav()[4:], "is no WAV"),
        (wav().replace(b"fmt ", b"fmx "), "without a format"),
        (
            wav().replace(b"fmt \x10\0\0\0", b"fmt \x08\0\0\0"),
            "damaged format|no samples in the first|within its header",
        ),
        (wav(subtype="IMA_ADPCM"), "WAV of format 0x11 with 4 bits"),
        (b"RIFF\0\0\0\0WAVEjunk\0\0\0\x7f", "no samples in the first"),
        (wav()[:24] + struct.pack("<I", 4_000) + wav()[28:], "sampled at 4,000 Hz"),
        (wav()[:22] + struct.pack("<H", 77) + wav()[24:], "has 77 channels"),
        (wav()[:22] + struct.pack("<H", 0) + wav()[24:], "has 0 channels"),
        (wav(STEREO[:0]), "holds no samples"),
        (wav(np.full((500, 2), np.nan, np.float32), "FLOAT"), "sample 0 is nan"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(content: bytes, words: str):
    with pytest.raises(ConfigError, match=words) as caught:
        mono_of(content)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("stdin: ")


def test_a_channel_that_is_not_there_is_refused_before_anything_is_decoded():
    with pytest.raises(ConfigError, match="has 2 channels, so no channel 3"):
        open_pcm_stream(reader(wav()), "stdin", channel=3)


def test_an_encoding_that_is_none_is_refused():
    with pytest.raises(ConfigError, match="encoding is 'opus'; use one of s16le"):
        open_pcm_stream(reader(b""), "stdin", PcmFormat(encoding="opus", sample_rate_hz=16_000))
