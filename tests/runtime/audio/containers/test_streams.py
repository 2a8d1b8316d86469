"""FLAC, Ogg, CAF and WebM without lengths, and what needs the extra `media`."""

from __future__ import annotations

import io
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from edgephi.audio.containers.flac import _position
from edgephi.audio.containers.opus_pages import _page as ogg_page
from edgephi.audio.decoding import load_audio, open_mono
from edgephi.base.errors import ConfigError
from support import audio_writers as writers
from support.audio_fuzz import encoded, noise


def _flac(hertz: int = 16000, channels: int = 1, subtype: str = "PCM_16") -> tuple[bytes, np.ndarray]:
    samples = noise(np.random.default_rng(8), 1.3, hertz, channels)
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, hertz, format="FLAC", subtype=subtype)
    return buffer.getvalue(), samples[:, 0]


def _unknown_length(flac: bytes) -> bytes:
    return flac[:21] + bytes([flac[21] & 0xF0]) + bytes(4) + flac[26:]


def _is_frame(head: bytes, info: bytes, first: bytes) -> bool:
    return _position(head, info, first) is not None


def _ogg_flac(flac: bytes, frame_starts: list[int]) -> bytes:
    """The mapping of FLAC to Ogg: a prefix, the description, a comment, then a frame a packet."""
    info, comment = flac[8:42], b"\x84\0\0\x08" + bytes(8)
    packets = [flac[a:b] for a, b in zip(frame_starts, [*frame_starts[1:], len(flac)], strict=True)]
    pages = [ogg_page(2, 0, 0, [b"\x7fFLAC\x01\0\0\x01fLaC\0\0\0\x22" + info]), ogg_page(0, 0, 1, [comment])]
    pages += [ogg_page(4 if n == len(packets) - 1 else 0, n, n + 2, [packet]) for n, packet in enumerate(packets)]
    return b"".join(pages)


@pytest.mark.parametrize(("hertz", "channels", "subtype"), [(16000, 1, "PCM_16"), (16000, 2, "PCM_24")])
def test_streamed_flac_is_read_to_its_end(hertz: int, channels: int, subtype: str):
    """An encoder that writes into a pipe cannot say how long it will be."""
    data, samples = _flac(hertz, channels, subtype)
    waveform = load_audio(_unknown_length(data))
    np.testing.assert_allclose(waveform.samples, samples, atol=1e-4)
    assert "states no length" in waveform.notes[0]
    tagged = load_audio(_unknown_length(data) + b"TAG" + bytes(125))
    np.testing.assert_array_equal(tagged.samples, waveform.samples)
    cut = load_audio(_unknown_length(data)[: len(data) // 2])
    assert 0.4 < cut.duration_s < 0.7
    np.testing.assert_allclose(cut.samples, samples[: len(cut.samples)], atol=1e-4)


def test_flac_that_holds_more_than_its_header_states_is_read_whole():
    """A header of the first second must not hide the rest."""
    data, samples = _flac()
    waveform = load_audio(data[:22] + (4096).to_bytes(4, "big") + data[26:])
    np.testing.assert_allclose(waveform.samples, samples, atol=1e-4)
    assert len(waveform.notes) == 1


def test_flac_in_ogg_is_read():
    data, samples = _flac()
    first = data.index(b"\xff\xf8")
    starts = [first + at for at in range(len(data) - first) if data[first + at : first + at + 2] == b"\xff\xf8"]
    starts = [at for at in starts if _is_frame(data[at : at + 16], data[8:42], data[first : first + 4])]
    assert len(starts) > 3
    np.testing.assert_allclose(load_audio(_ogg_flac(data, starts)).samples, samples, atol=1e-4)


@pytest.mark.parametrize("is_live", [True, False])
@pytest.mark.parametrize("with_video", [True, False])
@pytest.mark.parametrize(("channels", "number"), [(1, 0), (2, 3)])
def test_what_a_browser_records_is_read(is_live: bool, with_video: bool, channels: int, number: int, tmp_path: Path):
    """MediaRecorder of Chrome and Firefox gives Opus in WebM, whose clusters state no size."""
    opus, seconds = encoded("OGG", "OPUS", 48000, channels, number)
    path = tmp_path / "speech.webm"
    path.write_bytes(writers.webm(opus, is_live=is_live, with_video=with_video))
    waveform = load_audio(path)
    assert waveform.duration_s == pytest.approx(seconds, abs=0.02)
    reference = load_audio(opus).samples[:-100]  # Matroska does not say where within the last packet the audio ends
    np.testing.assert_allclose(waveform.samples[: len(reference)], reference, atol=1e-4)
    np.testing.assert_array_equal(load_audio(path.read_bytes()).samples, waveform.samples)


def test_a_browsers_recording_that_was_cut_is_read_up_to_its_last_packet():
    opus, seconds = encoded("OGG", "OPUS", 48000, 1, 3)
    data = writers.webm(opus, is_live=True)
    waveform = load_audio(data[:-150])
    assert seconds - 0.1 < waveform.duration_s < seconds
    assert "every whole packet was read" in waveform.notes[0]
    with pytest.raises(ConfigError, match="truncated"):
        load_audio(writers.webm(opus, is_live=False)[:-1000])


def _phone(codec: str, container: str, seconds: float = 1.0) -> bytes:
    """What a phone or Safari records."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as output:
        stream = output.add_stream(codec, rate=44100, layout="mono")
        for start in range(0, round(44100 * seconds), 1024):
            tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(start, start + 1024) / 44100)
            frame = av.AudioFrame.from_ndarray(tone.astype(np.float32)[None], format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 44100, start, Fraction(1, 44100)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return buffer.getvalue()


@pytest.mark.parametrize("container", ["mp4", "mov", "ipod", "3gp", "adts"])
def test_what_a_phone_records_is_read_with_the_extra(container: str):
    data = _phone("aac", container)
    waveform = load_audio(data)
    assert waveform.duration_s == pytest.approx(1.0, abs=0.1)
    spectrum = np.abs(np.fft.rfft(waveform.samples[2000:14000]))
    assert np.argmax(spectrum) * 16000 / 12000 == pytest.approx(440, abs=2)
    joined = load_audio(data + data).duration_s
    assert joined == pytest.approx(2.0, abs=0.2)


def test_without_the_extra_the_container_and_two_ways_out_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """`format not recognised` leaves the owner of a phone with nothing to do."""
    path = tmp_path / "memo.m4a"
    path.write_bytes(_phone("aac", "ipod"))
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(
        ConfigError, match=r'MP4 with AAC audio, .*pip install "edgephi\[media\]".*ffmpeg -i IN'
    ) as caught:
        load_audio(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("beginning", "name"),
    [
        (b"#!AMR\n" + bytes(range(99)), "AMR"),
        (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11" + bytes(99), r"WMA \(ASF\)"),
        (b"wvpk" + bytes(range(99)), "WavPack"),
        (b"RIFF\0\1\0\0AVI LIST" + bytes(99), "AVI"),
    ],
)
def test_other_formats_are_named(beginning: bytes, name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ConfigError, match=f"{name}, which is read by an extra"):
        load_audio(beginning)


def test_a_cut_phone_recording_is_refused():
    data = _phone("aac", "adts", 2.0)
    assert load_audio(data).duration_s == pytest.approx(2.0, abs=0.1)
    mp4 = _phone("aac", "mp4", 2.0)
    with pytest.raises(ConfigError, match=r"cannot be decoded|truncated"):
        load_audio(mp4[: len(mp4) // 2])


def test_paths_bytes_and_links_give_the_same(tmp_path: Path):
    """What a browser uploads and what lies on the disk are one recording."""
    pcm = writers.Pcm(samples=noise(np.random.default_rng(2), 0.3, 16000, 2))
    files = [writers.id3v2(b"x" * 99) + writers.wav(pcm), writers.w64(pcm, writers.Claims(size=(1 << 63) - 25))]
    files += [writers.caf(pcm, writers.Claims(size=-5)), encoded("MP3", "MPEG_LAYER_III", 16000, 2, 1)[0]]
    for number, data in enumerate(files):
        path = tmp_path / f"{number}.bin"
        path.write_bytes(data)
        link = tmp_path / f"link to {number}"
        link.symlink_to(path)
        read = [load_audio(source) for source in (data, path, str(link))]
        for other in read[1:]:
            np.testing.assert_array_equal(read[0].samples, other.samples)
        with open_mono(path) as opened:
            assert opened.num_samples == pytest.approx(len(read[0].samples), abs=1)
