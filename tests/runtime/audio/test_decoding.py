"""What users hand in as audio: decoded right, or refused with one clear line."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import soundfile
import soxr

from edgephi.audio.decoding import Waveform, load_audio, open_mono
from edgephi.audio.limits import MAX_DURATION_S, check_duration, check_rate
from edgephi.base.errors import CapacityError, ConfigError
from support.media_files import assert_refused


def tone(hertz: int, seconds: float = 0.5, frequency: float = 440.0) -> np.ndarray:
    return (0.4 * np.sin(2 * np.pi * frequency * np.arange(round(hertz * seconds)) / hertz)).astype(np.float32)


def encoded(samples: np.ndarray, hertz: int, kind: str = "WAV", subtype: str | None = None) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, hertz, format=kind, subtype=subtype)
    return buffer.getvalue()


@pytest.mark.parametrize("hertz", [16000, 8000])
def test_native_rates_are_kept_sample_for_sample(hertz):
    """Resampling audio that needs none would blur it."""
    samples = tone(hertz)
    waveform = load_audio((samples, hertz))
    assert waveform.sample_rate_hz == hertz
    np.testing.assert_array_equal(waveform.samples, samples)


@pytest.mark.parametrize("hertz", [8001, 11025, 22050, 44100, 48000, 96000])
def test_other_rates_keep_pitch_and_length(hertz):
    """The reference's division of rates would play 44.1 kHz speech a third too slow."""
    waveform = load_audio((tone(hertz, 1.0), hertz))
    assert waveform.sample_rate_hz == 16000
    assert abs(len(waveform.samples) - 16000) <= 1
    assert waveform.samples.dtype == np.float32
    spectrum = np.abs(np.fft.rfft(waveform.samples[1000:15000]))
    assert np.argmax(spectrum) * 16000 / 14000 == pytest.approx(440, abs=2)


def test_resampling_in_blocks_equals_resampling_at_once():
    """Long audio is read in blocks; a seam between blocks would click."""
    samples = np.random.default_rng(1).uniform(-0.5, 0.5, (1 << 20) + 4321).astype(np.float32)
    blocks = load_audio((np.stack([samples, samples], axis=1), 44100)).samples
    np.testing.assert_allclose(blocks, soxr.resample(samples, 44100, 16000), atol=1e-6)


def test_a_recording_read_in_blocks_equals_the_waveform():
    """Hours are transcribed from blocks; they must say what all of it at once says."""
    left, right = tone(16000, 70.0), tone(16000, 70.0, 1000.0)
    data = encoded(np.stack([left, right], axis=1), 16000, "WAV", "FLOAT")
    with open_mono(data) as opened:
        assert (opened.sample_rate_hz, opened.num_samples) == (16000, len(left))
        blocks = list(opened.blocks)
    assert len(blocks) > 1
    np.testing.assert_array_equal(np.concatenate(blocks), load_audio(data).samples)


def test_damage_behind_the_first_blocks_is_found_when_it_is_read():
    """What was read before it is still good, so opening must not refuse hours for their last second."""
    samples = tone(16000, 70.0)
    samples[-1] = np.nan
    with open_mono(encoded(samples, 16000, "WAV", "FLOAT")) as opened:
        assert len(next(opened.blocks)) == 1 << 20
        with pytest.raises(ConfigError, match=r"sample 1,119,999 is nan"):
            next(opened.blocks)


def test_channels_are_averaged():
    """Taking one channel would lose a speaker who sits at the other microphone."""
    left, right = tone(16000), tone(16000, frequency=1000.0)
    np.testing.assert_allclose(
        load_audio((np.stack([left, right], axis=1), 16000)).samples, (left + right) / 2, atol=1e-7
    )


def test_int16_is_pcm_and_float64_is_taken():
    """A microphone callback delivers int16; unscaled it would be 90 dB too loud."""
    samples = np.arange(-8000, 8000, dtype=np.int16)
    np.testing.assert_array_equal(load_audio((samples, 16000)).samples, samples.astype(np.float32) / 32768)
    assert load_audio((tone(16000).astype(np.float64), 16000.0)).samples.dtype == np.float32


@pytest.mark.parametrize(
    ("kind", "subtype", "tolerance"),
    [
        ("WAV", "PCM_U8", 0.01),
        ("WAV", "PCM_16", 1e-4),
        ("WAV", "PCM_24", 1e-6),
        ("WAV", "PCM_32", 1e-6),
        ("WAV", "FLOAT", 0),
        ("WAV", "DOUBLE", 0),
        ("WAV", "ULAW", 0.02),
        ("RF64", "PCM_16", 1e-4),
        ("FLAC", "PCM_24", 1e-6),
        ("AIFF", "PCM_16", 1e-4),
        ("CAF", "ALAC_16", 1e-4),
        ("OGG", "VORBIS", 0.05),
        ("MP3", "MPEG_LAYER_III", 0.1),
    ],
)
def test_path_and_bytes_decode_alike(tmp_path, kind, subtype, tolerance):
    """`--audio FILE` and bytes from a network must give the same, at the loudness it was recorded."""
    data = encoded(tone(16000), 16000, kind, subtype)
    path = tmp_path / "clip with spaces é.raw"  # the content decides, not the name
    path.write_bytes(data)
    from_path, from_bytes = load_audio(path), load_audio(data)
    np.testing.assert_array_equal(from_path.samples, from_bytes.samples)
    np.testing.assert_array_equal(load_audio(str(path)).samples, from_bytes.samples)
    np.testing.assert_allclose(from_path.samples, tone(16000), atol=tolerance)


def test_opus_is_read_at_its_pitch():
    """Messengers send voice as Opus, which is always stored at 48 kHz."""
    waveform = load_audio(encoded(tone(48000, 1.0), 48000, "OGG", "OPUS"))
    assert (waveform.sample_rate_hz, len(waveform.samples)) == (16000, 16000)
    assert np.argmax(np.abs(np.fft.rfft(waveform.samples[2000:14000]))) * 16000 / 12000 == pytest.approx(440, abs=2)


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFFFFF])
def test_streamed_wav_without_a_length_is_read(size):
    """Recorders writing to a pipe leave a placeholder as the length; that is not damage."""
    data = bytearray(encoded(tone(16000), 16000))
    at = data.index(b"data")
    data[at + 4 : at + 8] = struct.pack("<I", size)
    assert len(load_audio(bytes(data)).samples) == 8000


REFUSED_ARRAYS = [
    (np.zeros(0, np.float32), 16000, r"audio array: holds no samples"),
    (np.zeros((0, 2), np.float32), 16000, r"holds no samples"),
    (
        np.zeros(399, np.float32),
        16000,
        r"399 samples at 16,000 Hz last 24\.9 ms; the shortest audio is 25 ms: record longer",
    ),
    (np.zeros(199, np.float32), 8000, r"199 samples at 8,000 Hz last 24\.9 ms"),
    (np.zeros(1102, np.float32), 44100, r"1102 samples at 44,100 Hz"),
    (np.zeros(8000, np.float32), 7999, r"sampled at 7,999 Hz; the model takes 8,000 to 768,000 Hz"),
    (np.zeros(8000, np.float32), 0, r"sampled at 0 Hz"),
    (np.zeros(8000, np.float32), -16000, r"sampled at -16,000 Hz"),
    (np.zeros(8000, np.float32), 10**9, r"sampled at 1,000,000,000 Hz"),
    (np.zeros(8000, np.float32), 10**400, r"the sampling rate is far above 768,000 Hz"),
    (np.zeros(8000, np.float32), 16000.5, r"rate is 16000\.5; give a whole number of hertz"),
    (np.zeros(8000, np.float32), float("nan"), r"rate is nan"),
    (np.zeros(8000, np.float32), float("inf"), r"rate is inf"),
    (np.zeros(8000, np.float32), np.float64("inf"), r"rate is np\.float64\(inf\)"),
    (np.zeros(8000, np.float32), "16000", r"rate is '16000'"),
    (np.zeros(8000, np.float32), True, r"rate is True"),
    (np.array([0.1] * 500 + [np.nan] + [0.1] * 500), 16000, r"sample 500 is nan; samples must be finite"),
    (np.array([0.1] * 500 + [np.inf] + [0.1] * 500), 16000, r"sample 500 is inf"),
    (np.array([[0.1, -np.inf]] * 500), 44100, r"sample 0 is -inf"),
    (np.full(8000, 1e300), 16000, r"peak is .*full scale is 1\.0"),
    (np.full(8000, 20000.0, np.float32), 16000, r"peak is 20,000; full scale is 1\.0.*divide 16-bit samples by 32768"),
    (np.zeros(8000, np.int32), 16000, r"holds int32; samples are floating point with full scale 1\.0, or int16"),
    (np.zeros(8000, np.uint8), 16000, r"holds uint8"),
    (np.zeros(8000, np.bool_), 16000, r"holds bool"),
    (np.zeros(8000, np.complex64), 16000, r"holds complex64"),
    (np.zeros((2, 8000), np.float32), 16000, r"shape \[2, 8000\], so 8,000 channels.*transpose the array"),
    (np.zeros((8000, 0), np.float32), 16000, r"0 channels"),
    (np.zeros((1, 8000, 2), np.float32), 16000, r"shape \[1, 8000, 2\]; samples are \[n\] or \[n, channels\]"),
    (np.array(0.5), 16000, r"shape \[\]; samples are \[n\] or \[n, channels\]"),
]


@pytest.mark.parametrize(("samples", "hertz", "message"), REFUSED_ARRAYS)
def test_unusable_arrays_are_refused_with_the_limit(samples, hertz, message):
    """Each of these would otherwise be transcribed as confident nonsense."""
    with pytest.raises(ConfigError, match=message) as caught:
        load_audio((samples, hertz))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("source", [None, 3, tone(16000), [0.1, 0.2], (tone(16000),), ([0.1] * 800, 16000), {9}])
def test_other_types_are_refused(source):
    """An array without its rate cannot be known."""
    with pytest.raises(ConfigError, match=r"give a path, the bytes of a file, or \(samples, hertz\)"):
        load_audio(source)


def test_longer_than_the_context_is_a_capacity_error():
    """Ten hours of audio would fill memory before the model could refuse them."""
    endless = np.lib.stride_tricks.as_strided(np.zeros(1, np.int16), (8000 * 10_486,), (0,), writeable=False)
    with pytest.raises(CapacityError, match=r"longer than 10,485 s.*cut it into parts"):
        load_audio((endless, 8000))


def test_a_header_that_states_hours_is_refused_before_decoding():
    """Decoding first would take 64 KB of memory for each second promised."""
    data = bytearray(encoded(tone(16000), 16000, "FLAC"))
    data[21:26] = bytes([data[21] & 0xF0, 0x40, 0, 0, 0])  # 2**30 samples
    with pytest.raises(CapacityError, match=r"its length is 67,109 s; longer than 10,485 s.*cut it into parts"):
        load_audio(bytes(data))


def test_a_damaged_mp3_says_nothing_on_the_standard_streams(capfd):
    """libmpg123 would print its own comments between the lines of a transcript's progress."""
    data = bytearray(encoded(tone(16000, 1.0), 16000, "MP3"))
    data[700:720] = bytes(20)
    load_audio(bytes(data))
    assert capfd.readouterr() == ("", "")


def _wav() -> bytes:
    return encoded(tone(16000), 16000)


REFUSED_FILES = {
    "cut.wav": (_wav()[:9000], r"truncated; the header promises 16,000 bytes of samples, the file has 8,956"),
    "header.wav": (_wav()[:44], r"truncated|holds no samples"),
    "cut.aiff": (encoded(tone(16000), 16000, "AIFF")[:9000], r"truncated"),
    "cut.au": (encoded(tone(16000), 16000, "AU")[:9000], r"truncated"),
    "cut.flac": (encoded(tone(16000), 16000, "FLAC")[:3000], r"cannot be decoded as audio|truncated"),
    "cut.mp3": (encoded(tone(16000, 3.0), 16000, "MP3")[:4000], r"truncated"),
    "cut.ogg": (encoded(tone(16000), 16000, "OGG")[:2000], r"cannot be decoded as audio|holds no samples"),
    "none.wav": (encoded(np.zeros(0), 16000), r"holds no samples"),
    "brief.wav": (encoded(tone(16000, 0.02), 16000), r"last 20\.0 ms; the shortest audio is 25 ms"),
    "slow.wav": (encoded(tone(4000), 4000), r"sampled at 4,000 Hz; the model takes 8,000"),
    "text.wav": (b"this is not audio " * 50, r"cannot be decoded as audio"),
    "page.mp3": (b"<html><body>404</body></html>" * 20, r"cannot be decoded as audio"),
    "nan.wav": (encoded(np.full(8000, np.nan), 16000, "WAV", "FLOAT"), r"sample 0 is nan"),
}


@pytest.mark.parametrize("name", REFUSED_FILES)
def test_unusable_files_are_refused_by_name(tmp_path, name):
    assert_refused(load_audio, tmp_path / name, *REFUSED_FILES[name])


def test_bytes_are_named_by_their_size():
    """With several recordings in a request, the message must say which one."""
    with pytest.raises(ConfigError, match=r"audio of 450 bytes: cannot be decoded"):
        load_audio(b"not audio" * 50)
    with pytest.raises(ConfigError, match=r"audio of 0 bytes: empty"):
        load_audio(b"")


@pytest.mark.parametrize(
    ("samples", "hertz", "message"),
    [
        (np.zeros(16000, np.float32), 44100, r"44100 Hz.*use load_audio"),
        (np.zeros(16000, np.float64), 16000, r"float64 of shape \[16000\].*use load_audio"),
        (np.zeros((16000, 1), np.float32), 16000, r"shape \[16000, 1\]"),
        (np.zeros(399, np.float32), 16000, r"399 samples.*one frame of 25 ms, 400 samples"),
        (np.full(16000, np.nan, np.float32), 16000, r"16,000 samples are NaN or infinite"),
    ],
)
def test_a_waveform_cannot_be_made_wrong(samples, hertz, message):
    """Code that skips load_audio must not reach the encoder with another rate."""
    with pytest.raises(ConfigError, match=message):
        Waveform(samples, hertz)


def test_what_is_just_within_a_limit_is_taken():
    check_duration(MAX_DURATION_S * 16000, 16000, "day")
    with pytest.raises(CapacityError, match=r"day: its length is 10,486 s"):
        check_duration(MAX_DURATION_S * 16000 + 1, 16000, "day")
    check_rate(768_000, "bat")
    with pytest.raises(ConfigError, match=r"bat: sampled at 768,001 Hz"):
        check_rate(768_001, "bat")
    assert load_audio((tone(16000, 0.025), 16000)).duration_s == 0.025
    assert load_audio((np.full(8000, -32.0, np.float32), 16000)).samples.min() == -32


@pytest.mark.parametrize("count", [1, 5, 100])
def test_a_part_shorter_than_the_resamplers_delay_is_read(count: int):
    """Joined with a part of another rate, it gives no sample until its end."""
    joined = encoded(tone(22050)[:count], 22050) + encoded(tone(16000), 16000)
    assert load_audio(joined).duration_s == pytest.approx(0.5 + count / 22050, abs=1e-4)
