"""Files of several parts: read to the last one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgephi.audio.decoding import load_audio, open_mono
from edgephi.base.errors import ConfigError
from support import audio_writers as writers
from support.audio_fuzz import encoded, noise, without_header_frame
from support.audio_writers import Claims, Pcm


def _mp3(hertz: int = 16000, channels: int = 1, number: int = 3) -> tuple[bytes, float]:
    return encoded("MP3", "MPEG_LAYER_III", hertz, channels, number)


def _seconds(data: bytes) -> float:
    return load_audio(data).duration_s


@pytest.mark.parametrize("second", [(16000, 1), (44100, 2), (16000, 2), (48000, 1), (22050, 1)])
@pytest.mark.parametrize("are_counted", [(True, True), (False, True), (True, False), (False, False)])
def test_joined_mp3s_are_read_to_the_end(second: tuple[int, int], are_counted: tuple[bool, bool]):
    """Players join files by appending them; the second half of an audio book must not vanish."""
    parts = [_mp3(), _mp3(*second, 2)]
    data = b"".join(
        part if is_counted else without_header_frame(part)
        for (part, _), is_counted in zip(parts, are_counted, strict=True)
    )
    assert _seconds(data) == pytest.approx(sum(seconds for _, seconds in parts), abs=0.3)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("OGG", "VORBIS", 16000, 1), ("OGG", "VORBIS", 44100, 2)),
        (("OGG", "OPUS", 48000, 1), ("OGG", "OPUS", 48000, 2)),
        (("OGG", "VORBIS", 16000, 2), ("OGG", "OPUS", 48000, 1)),
        (("FLAC", "PCM_16", 16000, 1), ("FLAC", "PCM_16", 44100, 2)),
        (("FLAC", "PCM_24", 16000, 2), ("MP3", "MPEG_LAYER_III", 16000, 1)),
        (("WAV", "PCM_16", 16000, 1), ("WAV", "PCM_24", 8000, 2)),
        (("WAV", "PCM_16", 16000, 1), ("MP3", "MPEG_LAYER_III", 16000, 1)),
        (("MP3", "MPEG_LAYER_III", 16000, 1), ("WAV", "PCM_16", 16000, 1)),
        (("AIFF", "PCM_16", 16000, 1), ("FLAC", "PCM_16", 16000, 1)),
        (("AU", "PCM_16", 16000, 1), ("CAF", "PCM_16", 16000, 1)),
    ],
)
def test_joined_files_of_any_formats_are_read_to_the_end(first: tuple[str, str, int, int], second: tuple):
    """What `cat` made of two recordings is both."""
    (one, one_s), (two, two_s) = encoded(*first, 3), encoded(*second, 2)
    assert _seconds(one + two) == pytest.approx(one_s + two_s, abs=0.1)
    assert _seconds(one + two + one) == pytest.approx(2 * one_s + two_s, abs=0.15)


def test_joined_files_decode_to_what_each_holds(tmp_path: Path):
    """The right length alone could be silence."""
    pcms = [Pcm(samples=noise(np.random.default_rng(seed), 0.4, 16000, 1)) for seed in (1, 2)]
    data = b"".join(map(writers.wav, pcms))
    expected = np.concatenate([np.round(pcm.samples[:, 0] * 32767) / 32768 for pcm in pcms])
    path = tmp_path / "joined.wav"
    path.write_bytes(data)
    for source in (data, path):
        np.testing.assert_allclose(load_audio(source).samples, expected, atol=1e-6)
    with open_mono(path) as opened:
        assert (opened.sample_rate_hz, opened.num_samples, len(opened.notes)) == (16000, 12800, 0)


def test_a_cut_second_part_is_refused_not_left_out():
    one, two = writers.wav(Pcm(samples=noise(np.random.default_rng(1), 0.4, 16000, 1))), _mp3()[0]
    for data in (one + one[:-9000], one + two[: len(two) // 2], two + one[:-9000]):
        with pytest.raises(ConfigError, match="truncated"):
            load_audio(data)


def test_streamed_wavs_that_were_joined_are_read_to_the_end():
    """Without a length, the first must not swallow the second's header as audio."""
    pcm = Pcm(samples=noise(np.random.default_rng(1), 0.4, 16000, 1))
    streamed = writers.wav(pcm, Claims(size=0xFFFFFFFF, outer=0xFFFFFFFF))
    waveform = load_audio(streamed + streamed)
    assert (len(waveform.samples), len(waveform.notes)) == (12800, 1)
    assert np.abs(waveform.samples).max() <= 0.5


def test_a_chain_of_hundreds_of_links_is_read_with_few_open_at_once():
    """A recorded internet radio begins a new stream with each title."""
    link, seconds = encoded("OGG", "VORBIS", 16000, 1, 0)
    assert _seconds(link * 300) == pytest.approx(300 * seconds, rel=0.02)


def test_bytes_behind_the_end_that_are_no_audio_are_reported():
    data, seconds = encoded("OGG", "VORBIS", 16000, 1, 1)
    waveform = load_audio(data + b"<html>" * 50)
    assert waveform.duration_s == pytest.approx(seconds, abs=0.02)
    assert "300 bytes behind its end are no audio" in waveform.notes[0]


def test_a_few_bytes_behind_the_end_are_not_worth_a_note():
    """Recorders leave a tail of less than a header."""
    data, _ = encoded("OGG", "VORBIS", 16000, 1, 1)
    assert load_audio(data + b"<" * 16).notes == ()
    assert "17 bytes behind its end are no audio" in load_audio(data + b"<" * 17).notes[0]
