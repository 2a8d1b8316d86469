"""Frames must be the recording, cut evenly; the detector must know speech from noise."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edgephi.transcription.recording import Recording, open_recording
from edgephi.transcription.speech import FRAME_S, _pairs, read_frames, silero_detector
from edgephi.transcription.windows import WindowRules, cut_windows
from support.speech_model import loudness, turns

SAMPLES = Path(__file__).parents[3] / "nano" / "samples"


@pytest.mark.parametrize("hertz", [16_000, 8_000])
def test_frames_are_the_recording_and_are_judged_where_they_are(hertz: int):
    samples = turns(70.0, 1.0, 2.0, 1.0, 0.01, hertz=hertz)  # across a block's end
    with open_recording((samples, hertz)) as recording:
        frames = list(read_frames(recording, loudness))
    assert np.array_equal(np.concatenate([frame.samples for frame in frames]), samples)
    speech = np.flatnonzero([frame.speech for frame in frames]) * FRAME_S
    assert speech[0] == pytest.approx(70.0, abs=2 * FRAME_S)
    assert speech[-1] + FRAME_S == pytest.approx(74.0, abs=2 * FRAME_S)


@pytest.mark.parametrize("name", ["sentence.wav", "command.wav", "spoken-colour-question.wav"])
@pytest.mark.parametrize("hertz", [16_000, 8_000])
def test_speech_is_detected_as_speech(name: str, hertz: int):
    samples, own_hertz = soundfile.read(SAMPLES / name, dtype="float32")
    samples = samples[:: own_hertz // hertz]
    with open_recording((samples, hertz)) as recording:
        probabilities = [frame.speech for frame in read_frames(recording, silero_detector())]
    assert np.mean(np.array(probabilities) > 0.5) > 0.5


def test_music_claps_and_hiss_are_not_speech():
    """They would become invented words."""
    rng = np.random.default_rng(0)
    time = np.arange(5 * 16_000) / 16_000
    chord = 0.05 * sum(np.sin(2 * np.pi * f * time) * (1 + np.sin(4 * np.pi * time + f)) for f in (262, 330, 392))
    claps = 0.3 * rng.standard_normal(len(time)) * np.exp(-(time % 0.5) * 40)
    for noise in (chord, claps, 0.05 * rng.standard_normal(len(time))):
        with open_recording((noise.astype(np.float32), 16_000)) as recording:
            assert not list(cut_windows(read_frames(recording, silero_detector()), WindowRules()))


def test_each_recording_has_a_detector_of_its_own():
    samples, hertz = soundfile.read(SAMPLES / "sentence.wav", dtype="float32")

    def probabilities() -> list[float]:
        with open_recording((samples, hertz)) as recording:
            return [frame.speech for frame in read_frames(recording, silero_detector())]

    assert probabilities() == probabilities()


def test_only_the_blocks_in_use_are_held():
    """Also of a recording at its own rate, whose blocks go two ways."""
    alive: list[weakref.ref[np.ndarray]] = []

    def blocks() -> Iterator[np.ndarray]:
        for _ in range(40):
            block = np.zeros(16_000, np.float32)
            alive.append(weakref.ref(block))
            yield block
            del block

    recording = Recording(sample_rate_hz=16_000, duration_s=40.0, blocks=blocks())
    most = 0
    for pair in _pairs(recording):
        assert len(pair) == 2
        most = max(most, sum(one() is not None for one in alive))
    assert len(alive) == 40
    assert most <= 4
