"""A recording read in blocks must be the same audio as one read at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from edgephi.audio.decoding import load_audio
from edgephi.base.errors import ConfigError
from edgephi.transcription.recording import open_recording
from support.signals import random_audio


@pytest.mark.parametrize(
    ("hertz", "channels", "seconds", "suffix"),
    [
        (16_000, 1, 70, "wav"),
        (8_000, 1, 20, "wav"),
        (44_100, 2, 15, "flac"),
        (11_025, 1, 20, "flac"),
        (48_000, 1, 25, "ogg"),
    ],
)
def test_blocks_are_what_load_audio_gives(tmp_path: Path, hertz: int, channels: int, seconds: int, suffix: str):
    """Across the end of a block where the recording is long enough for two."""
    path = tmp_path / f"a.{suffix}"
    tracks = [random_audio(str(channel), seconds, hertz) for channel in range(channels)]
    with soundfile.SoundFile(path, "w", hertz, channels) as file:
        for piece in np.array_split(np.stack(tracks, axis=1), seconds):  # libsndfile's Vorbis cannot take it at once
            file.write(piece)
    whole = load_audio(path)
    with open_recording(path) as recording:
        blocks = list(recording.blocks)
    assert recording.sample_rate_hz == whole.sample_rate_hz
    assert recording.duration_s == pytest.approx(whole.duration_s, abs=1e-3)
    assert np.abs(np.concatenate(blocks) - whole.samples).max() < 1e-6
    assert max(map(len, blocks)) <= 1 << 20  # hours come in no larger pieces


@pytest.mark.parametrize("kind", ["bytes", "array"])
def test_bytes_and_arrays_are_recordings_too(tmp_path: Path, kind: str):
    samples = random_audio("a", 130.0, 16_000)
    path = tmp_path / "a.flac"
    soundfile.write(path, samples, 16_000)
    with open_recording(path.read_bytes() if kind == "bytes" else (samples, 16_000)) as recording:
        blocks = list(recording.blocks)
    assert len(blocks) == 3
    assert np.array_equal(np.concatenate(blocks), samples)


def test_a_file_that_is_no_recording_is_refused_when_it_is_opened(tmp_path: Path):
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"this is no sound")
    low = tmp_path / "low.wav"
    soundfile.write(low, np.zeros(4000), 4000)
    for path, message in [
        (tmp_path / "gone.wav", "gone.wav: no such file"),
        (bad, "bad.wav: cannot be decoded as audio"),
        (low, "low.wav: sampled at 4,000 Hz"),
    ]:
        with pytest.raises(ConfigError, match=message), open_recording(path):
            pass


def test_damage_further_on_is_found_after_the_blocks_before_it(tmp_path: Path):
    path = tmp_path / "a.wav"
    samples = random_audio("a", 100.0, 16_000)
    samples[1_200_000] = np.nan
    soundfile.write(path, samples, 16_000, subtype="FLOAT")
    with open_recording(path) as recording:
        assert np.array_equal(next(recording.blocks), samples[: 1 << 20])
        with pytest.raises(ConfigError, match="sample 1,200,000 is nan"):
            next(recording.blocks)


def test_a_recording_without_samples_is_refused(tmp_path: Path):
    path = tmp_path / "none.wav"
    soundfile.write(path, np.zeros(0), 16_000)
    with pytest.raises(ConfigError, match=r"none\.wav: holds no samples"), open_recording(path) as recording:
        list(recording.blocks)
