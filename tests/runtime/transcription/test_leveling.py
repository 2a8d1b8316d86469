"""Quiet speech must be found as if it were loud, and quiet noise must not become speech."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from edgephi.transcription.leveling import Leveling
from edgephi.transcription.recording import Recording, open_recording
from edgephi.transcription.speech import Frame, read_frames, silero_detector
from edgephi.transcription.windows import WindowRules, cut_windows

SAMPLES = Path(__file__).parents[3] / "nano" / "samples"
HERTZ = 16_000


def at(samples: np.ndarray, level_db: float) -> np.ndarray:
    return (samples * 10 ** (level_db / 20)).astype(np.float32)


def sentence(name: str = "sentence") -> np.ndarray:
    """With half a second of silence on both sides."""
    return np.pad(soundfile.read(SAMPLES / f"{name}.wav", dtype="float32")[0], HERTZ // 2)


def frames_of(samples: np.ndarray, hertz: int = HERTZ) -> list[Frame]:
    with open_recording((samples, hertz)) as recording:
        return list(read_frames(recording, silero_detector()))


def spans(samples: np.ndarray, hertz: int = HERTZ) -> list[tuple[float, float]]:
    return [(w.start_s, w.end_s) for w in cut_windows(frames_of(samples, hertz), WindowRules())]


def noises(length: int = 10 * HERTZ) -> dict[str, np.ndarray]:
    """All at 0 dB."""
    rng = np.random.default_rng(0)
    white = rng.standard_normal(length)
    spectrum = np.fft.rfft(white)
    pink = np.fft.irfft(spectrum / np.sqrt(np.arange(1, len(spectrum) + 1)), length)
    hum = np.sin(np.arange(length) * 2 * np.pi * 50 / HERTZ) + 0.1 * white
    swelling = white * (1 + 0.9 * np.sin(np.arange(length) / HERTZ))
    return {
        name: noise / np.sqrt(np.mean(noise**2))
        for name, noise in (("white", white), ("pink", pink), ("hum", hum), ("swelling", swelling))
    }


@pytest.mark.parametrize("name", ["sentence", "command", "spoken-number-question"])
@pytest.mark.parametrize("level_db", [-20, -40, -60])
@pytest.mark.parametrize("hertz", [16_000, 8_000])
def test_quiet_speech_is_found_where_loud_speech_is(name: str, level_db: float, hertz: int):
    """At -40 dB its first words were lost, at -60 dB all."""
    samples = sentence(name)[:: HERTZ // hertz]
    ((start, end),) = spans(samples, hertz)
    bits = 15 if level_db > -60 else 23  # of 16 bits hardly one is left at -60 dB
    quiet = (np.rint(at(samples, level_db) * 2**bits) / 2**bits).astype(np.float32)
    ((quiet_start, quiet_end),) = spans(quiet, hertz)
    assert quiet_start == pytest.approx(start, abs=0.1)
    assert quiet_end == pytest.approx(end, abs=0.2)


@pytest.mark.parametrize("name", noises())
@pytest.mark.parametrize("level_db", [-80, -60, -45])
def test_noise_is_not_raised_to_speech(name: str, level_db: float):
    assert not spans(at(noises()[name], level_db))


@pytest.mark.parametrize("level_db", [-70, -60, -50, -45])
def test_the_steps_of_8_bits_are_no_speech(level_db: float):
    """A quiet room in 8 bits is silence with single steps of -42 dB."""
    for noise in noises().values():
        assert not spans((np.rint(at(noise, level_db) * 128) / 128).astype(np.float32))


def test_speech_over_quiet_noise_is_found():
    noisy = sentence() + at(noises(len(sentence()))["pink"], -45)
    ((start, end),) = spans(noisy.astype(np.float32))
    ((quiet_start, quiet_end),) = spans(at(noisy, -35))
    assert (quiet_start, quiet_end) == pytest.approx((start, end), abs=0.15)


def test_a_clap_does_not_make_a_quiet_recording_loud():
    quiet = at(sentence(), -50)
    quiet[1_000:1_400] = 0.8
    assert spans(quiet)


def test_a_phrase_after_minutes_of_noise_is_found():
    noise = at(noises(150 * HERTZ)["pink"], -85)
    noise[130 * HERTZ :][: len(sentence())] += at(sentence(), -45)
    ((start, _),) = spans(noise)
    assert start == pytest.approx(130.5, abs=0.3)


@pytest.mark.parametrize("name", ["sentence", "command", "spoken-colour-question", "spoken-number-question"])
def test_a_recording_of_usual_loudness_is_left_alone(name: str):
    samples = sentence(name)
    frames = frames_of(samples)
    detector = silero_detector()
    assert {frame.gain for frame in frames} == {1.0}
    whole = samples[: len(samples) // 512 * 512].reshape(-1, 512)
    assert [frame.speech for frame in frames[: len(whole)]] == [detector(chunk) for chunk in whole]


def test_blocks_of_any_length_give_the_same_frames():
    samples = np.concatenate([at(np.pad(sentence(), (0, 60 * HERTZ)), -50), at(sentence(), -40)])
    whole = frames_of(samples)
    cuts = np.sort(np.random.default_rng(2).integers(0, len(samples), 300))
    blocks = iter(np.split(samples, cuts))
    recording = Recording(sample_rate_hz=HERTZ, duration_s=len(samples) / HERTZ, blocks=blocks)
    cut = list(read_frames(recording, silero_detector()))
    assert [(frame.speech, frame.gain) for frame in cut] == [(frame.speech, frame.gain) for frame in whole]
    assert whole[0].gain > 1


def test_a_windows_samples_are_raised_and_its_frames_as_recorded():
    """The model misses words, too, where they are as quiet as its own limits."""
    quiet = at(sentence(), -50)
    frames = frames_of(quiet)
    (window,) = cut_windows(frames, WindowRules())
    np.testing.assert_array_equal(np.concatenate([frame.samples for frame in frames]), quiet)
    recorded = np.concatenate([frame.samples for frame in window.frames])
    np.testing.assert_array_equal(window.samples, recorded * np.float32(frames[0].gain))
    assert np.abs(window.samples).max() > 0.02


def test_what_16_bits_leave_of_a_sentence_at_minus_60_db_is_found():
    ((start, end),) = spans((np.rint(at(sentence(), -60) * 32768) / 32768).astype(np.float32))
    assert (start, end) == pytest.approx((0.55, 2.64), abs=0.3)


@pytest.mark.parametrize(("level_db", "gain_db"), [(-50.0, 5.0), (-60.0, 15.0), (-44.0, 0.0)])
def test_noise_is_raised_to_minus_45_db_and_no_higher(level_db: float, gain_db: float):
    """At -36 dB, to which speech is raised, the detector takes some noises for speech."""
    assert 20 * np.log10(Leveling().gain(_frames((100, level_db)))) == pytest.approx(gain_db, abs=0.5)


def _frames(*runs: tuple[int, float]) -> np.ndarray:
    """float32 [frames, 512]: numbers of frames and their levels in decibels."""
    wave = np.resize(np.array([1.0, -1.0]), 512)
    return np.concatenate([np.tile(10 ** (level_db / 20) * wave, (count, 1)) for count, level_db in runs])


@pytest.mark.parametrize("minutes", [0.5, 10])
def test_less_than_half_a_second_of_claps_does_not_make_a_recording_loud(minutes: float):
    """Speech at -60 dB is raised to -36 dB; of ten minutes, a five-hundredth may be louder."""
    count = round(minutes * 60 / 0.032)
    most = max(15, count // 500)
    for claps, gain_db in ((most, 24.0), (most + 2, 0.0)):
        frames = _frames((count // 2, -80.0), (count // 2 - claps, -60.0), (claps, -10.0))
        assert 20 * np.log10(Leveling().gain(frames)) == pytest.approx(gain_db, abs=0.5)
