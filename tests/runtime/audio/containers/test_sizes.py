"""Sizes in headers: believed, taken for placeholders, or held against the file."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from edgephi.audio.containers.parts import TruncatedAudioError
from edgephi.audio.containers.sizes import UNFINISHED, StatedSize, extent, is_placeholder
from edgephi.audio.decoding import load_audio
from edgephi.base.errors import ConfigError
from support import audio_writers as writers
from support.audio_fuzz import PLACEHOLDERS, noise
from support.audio_writers import TRUE, Claims, Pcm

WRITERS = {
    "wav": writers.wav,
    "rifx": lambda pcm, claims=TRUE: writers.wav(pcm, claims, order=">"),
    "rf64": lambda pcm, claims=TRUE: writers.wav(pcm, claims, is_64=True),
    "w64": writers.w64,
    "aiff": writers.aiff,
    "au": writers.au,
    "caf": writers.caf,
}


def _pcm(seconds: float = 0.5, channels: int = 1) -> Pcm:
    return Pcm(samples=noise(np.random.default_rng(5), seconds, 16000, channels))


def _read(pcm: Pcm) -> np.ndarray:
    return np.round(pcm.samples[:, 0] * 32767) / np.float32(32768)


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("size", PLACEHOLDERS)
def test_a_header_that_was_never_finished_is_read_to_the_end_with_a_note(kind: str, size: int):
    """A recorder whose power failed leaves its whole recording behind a size that nobody meant."""
    pcm = _pcm()
    waveform = load_audio(WRITERS[kind](pcm, Claims(size=size, outer=36)))
    np.testing.assert_allclose(waveform.samples, _read(pcm), atol=1e-6)
    assert [UNFINISHED in note for note in waveform.notes] == [True]


@pytest.mark.parametrize("bytes_per_s", [320, 32_000])
def test_a_promise_may_exceed_the_file_by_a_tenth_of_a_second_or_128_bytes(bytes_per_s: int):
    def stated(excess: int) -> StatedSize:
        return StatedSize(
            size=50_000 + excess, available=50_000, sample_bytes_end=50_000, bytes_per_s=bytes_per_s
        )  # fmt: skip

    most = max(128, bytes_per_s // 10)
    assert extent(stated(most)).length == 50_000
    with pytest.raises(TruncatedAudioError, match="promises"):
        extent(stated(most + 1))


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_format_of_odd_length_is_padded(order: str):
    pcm = _pcm()
    data = pcm.packed(order)
    described = struct.pack(f"{order}HHIIHH", 1, 1, 16000, 32000, 2, 16) + b"\0"
    body = b"WAVE" + writers.chunk(b"fmt ", described, order) + writers.chunk(b"data", data, order)
    kind = b"RIFF" if order == "<" else b"RIFX"
    waveform = load_audio(writers.chunk(kind, body, order))
    np.testing.assert_allclose(waveform.samples, _read(pcm), atol=1e-6)


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("first", [2, 640, 8000])
def test_a_size_of_the_first_block_only_does_not_hide_the_rest(kind: str, first: int):
    pcm = _pcm()
    waveform = load_audio(WRITERS[kind](pcm, Claims(size=first)))
    np.testing.assert_allclose(waveform.samples, _read(pcm), atol=1e-6)
    assert len(waveform.notes) == 1


@pytest.mark.parametrize("kind", ["wav", "rifx", "rf64", "w64", "aiff"])
@pytest.mark.parametrize("size", [None, 0, 0xFFFFFFFF, 320])
@pytest.mark.parametrize("name", [b"LIST", b"id3 ", b"bext", b"cue "])
def test_chunks_behind_the_samples_are_not_read(kind: str, size: int | None, name: bytes):
    """Read as samples, a tag of text is a burst of noise that the model takes for words."""
    pcm = _pcm()
    behind = ((name, b"INFOISFT" + bytes(range(250)) * 3), (b"LIST", b"INFO"))
    waveform = load_audio(WRITERS[kind](pcm, Claims(size=size, behind=behind)))
    np.testing.assert_allclose(waveform.samples, _read(pcm), atol=1e-6)
    assert bool(waveform.notes) == (size is not None)


@pytest.mark.parametrize("kind", ["wav", "rf64", "aiff", "caf", "w64"])
def test_no_samples_before_real_chunks_are_no_samples(kind: str):
    """The text of a tag is not what somebody said."""
    pcm = Pcm(samples=np.zeros((0, 1), np.float32))
    with pytest.raises(ConfigError, match="holds no samples"):
        load_audio(WRITERS[kind](pcm, Claims(behind=((b"LIST", b"INFO" * 900),))))


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("excess", [1, 44, 128, 3199])
def test_a_size_a_little_too_large_is_reported_and_read(kind: str, excess: int):
    """Some writers count their header as well."""
    pcm = _pcm()
    waveform = load_audio(WRITERS[kind](pcm, Claims(size=16000 + excess, outer=1 << 20)))
    np.testing.assert_allclose(waveform.samples, _read(pcm), atol=1e-6)
    assert f"promises {excess:,} bytes more than the file holds" in waveform.notes[0]


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("kept", [0.02, 0.3, 0.79])
def test_a_download_that_ended_early_is_refused(kind: str, kept: float):
    """Half an interview must not pass for all of it."""
    data = WRITERS[kind](_pcm())
    with pytest.raises(ConfigError, match=r"truncated; the header promises 16,000 bytes of samples, the file has"):
        load_audio(data[: len(data) - round(16000 * (1 - kept))])


def test_an_outer_size_that_fits_the_file_shows_the_inner_one_to_be_wrong():
    """Of two sizes that contradict each other, the one that agrees with the file is right."""
    pcm = _pcm()
    whole = writers.wav(pcm)
    waveform = load_audio(writers.wav(pcm, Claims(size=123_456, outer=len(whole) - 8)))
    assert (len(waveform.samples), len(waveform.notes)) == (8000, 1)


@pytest.mark.parametrize("size", [1, 2, 60_068, 1 << 20, 123_456_789, 0x7EFFFFFF, 0x90000000, 5_000_000_123])
def test_sizes_that_a_recorder_can_mean_are_promises(size: int):
    assert not is_placeholder(size)


@pytest.mark.parametrize("size", [*PLACEHOLDERS, -1, (1 << 63) - 1, (1 << 64) - 1, 500_000_000, 1 << 29])
def test_sizes_that_no_recorder_means_are_placeholders(size: int):
    assert is_placeholder(size)


@pytest.mark.parametrize("text", [b"data : 10 (should be 5)", b"SSND : 9 (should be 4)\n" * 999, b"x" * 70_000])
def test_a_comment_cannot_look_like_damage_nor_hide_it(text: bytes):
    """Comments are written by anyone; they must not decide what is read."""
    pcm = _pcm()
    for kind in ("wav", "aiff"):
        data = WRITERS[kind](pcm, Claims(before=((b"LIST" if kind == "wav" else b"ANNO", b"INFOICMT" + text),)))
        waveform = load_audio(data)
        assert (len(waveform.samples), waveform.notes) == (8000, ())
        with pytest.raises(ConfigError, match="truncated"):
            load_audio(data[:-9000])
