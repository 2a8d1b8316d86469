"""A mix must hold what its channels hold: words that cancel out in the average would be "no speech found"."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edgephi.audio.channel_choice import mix_note
from edgephi.audio.channel_levels import ChannelLevels
from edgephi.audio.decoding import load_audio, open_mono
from edgephi.audio.mix_choice import _Findings, choose_mix
from edgephi.base.cancellation import Stopped
from edgephi.base.errors import ConfigError

SAMPLES = Path(__file__).parents[3] / "nano" / "samples"
HERTZ = 16_000


def spoken(name: str, length: int | None = None, start: int = 0) -> np.ndarray:
    """float32 [length], a sentence that begins at sample `start`."""
    samples = soundfile.read(SAMPLES / f"{name}.wav", dtype="float32")[0]
    whole = np.zeros(length or len(samples), np.float32)
    whole[start : start + len(samples)] = samples
    return whole


def hiss(length: int, level_db: float, seed: int = 0) -> np.ndarray:
    return (10 ** (level_db / 20) * np.random.default_rng(seed).standard_normal(length)).astype(np.float32)


def late(samples: np.ndarray, by: int) -> np.ndarray:
    return np.concatenate([np.zeros(by, np.float32), samples])[: len(samples)]


def mixed(*channels: np.ndarray, hertz: int = HERTZ) -> np.ndarray:
    return load_audio((np.stack(channels, axis=1).astype(np.float32), hertz)).samples


def level_db(samples: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(np.square(samples, dtype=np.float64)) + 1e-12))


@pytest.mark.parametrize("gain", [-1.0, -0.9, -0.6, -0.45, -1.5])
@pytest.mark.parametrize("noise_db", [-100, -45, -30])
def test_an_inverted_channel_does_not_silence_the_speaker(gain: float, noise_db: float):
    """Also a weaker one, and under hiss that keeps the average as loud as before."""
    voice = spoken("sentence")
    noises = [hiss(len(voice), noise_db, seed) for seed in (1, 2)]
    mix = mixed(voice + noises[0], gain * voice + noises[1])
    share = mix @ voice / (voice @ voice)  # how much of the voice is in it
    assert abs(share) > 0.7


def test_a_phrase_in_minutes_of_hiss_is_found():
    """Over the whole recording its energy is far below that of the hiss."""
    minute = 60 * HERTZ
    voice = spoken("command", 5 * minute, 3 * minute)
    left, right = voice + hiss(len(voice), -30, 1), -voice + hiss(len(voice), -30, 2)
    assert level_db(voice) < level_db(left - voice) - 6
    mix = mixed(left, right)
    assert mix @ voice / (voice @ voice) == pytest.approx(1, abs=0.05)


def test_what_is_inverted_for_a_while_is_kept_as_well_as_the_rest():
    first, second = spoken("command"), spoken("sentence")
    mix = mixed(np.concatenate([first, second]), np.concatenate([first, -second]))
    np.testing.assert_allclose(mix, np.concatenate([first, second]), atol=1e-6)


@pytest.mark.parametrize("gain", [-1.0, -0.6])
@pytest.mark.parametrize("place", [0, 11, 19])
def test_a_sentence_inverted_in_minutes_that_are_not_is_kept(gain: float, place: int):
    """A cable that was turned for a moment, or joined recordings: a hundredth of all, and a sentence that is gone."""
    parts = [np.concatenate([spoken("sentence"), np.zeros(2 * HERTZ, np.float32)])] * 20
    left = np.concatenate([*parts[:place], spoken("command"), *parts[place:]])
    right = np.concatenate([*parts[:place], gain * spoken("command"), *parts[place:]])
    noises = [hiss(len(left), -50, seed) for seed in (1, 2)]
    mix = mixed(left + noises[0], right + noises[1])
    assert any(np.array_equal(mix, channel) for channel in (left + noises[0], right + noises[1]))


def test_two_speakers_of_whom_one_is_inverted_are_both_kept():
    length = 6 * HERTZ
    one, other = spoken("command", length), spoken("sentence", length, 3 * HERTZ)
    mix = mixed(one + other, one - other)
    for voice in (one, other):
        assert abs(mix @ voice / (voice @ voice)) == pytest.approx(1, abs=0.1)


def test_an_inverted_channel_with_words_of_its_own_keeps_both():
    length = 7 * HERTZ
    shared, own = spoken("sentence", length), spoken("command", length, 4 * HERTZ)
    mix = mixed(shared + own, -shared)
    for voice in (shared, own):
        assert abs(mix @ voice / (voice @ voice)) > 0.3


@pytest.mark.parametrize("delay", [8, 16, 24, 32])
def test_a_late_copy_does_not_cut_bands_out_of_the_voice(delay: int):
    voice = spoken("sentence")
    mix = mixed(voice, late(voice, delay))
    assert any(np.allclose(mix, channel, atol=1e-6) for channel in (voice, late(voice, delay)))


@pytest.mark.parametrize("num_channels", [2, 3, 8, 32])
@pytest.mark.parametrize("noise_db", [None, -60, -35])
def test_channels_without_a_voice_do_not_weaken_the_one_that_has_it(num_channels: int, noise_db: float | None):
    """31 unused inputs make a voice 30 dB quieter, and their noise drowns it."""
    voice = spoken("command", 3 * HERTZ, HERTZ // 2)
    channels = [
        np.zeros_like(voice) if noise_db is None else hiss(len(voice), noise_db, i) for i in range(num_channels)
    ]
    channels[num_channels // 2] = voice
    np.testing.assert_array_equal(mixed(*channels), voice)


def test_of_many_channels_those_with_voices_are_averaged():
    length = 7 * HERTZ
    voices = [spoken("command", length), spoken("sentence", length, 3 * HERTZ)]
    noises = [hiss(length, -50, seed) for seed in range(4)]
    mix = mixed(noises[0], voices[0], noises[1], noises[2], voices[1], noises[3])
    np.testing.assert_allclose(mix, (voices[0] + voices[1]) / 2, atol=1e-6)


def test_a_steady_tone_and_a_moment_are_not_silenced_either():
    """They have no pauses from which to know the noise."""
    tone = (0.3 * np.sin(np.arange(HERTZ) / 5)).astype(np.float32)
    moment = spoken("command")[12_000:12_800]
    noise = hiss(HERTZ, -20)
    for opened in (tone, moment, noise):
        assert level_db(mixed(opened, -opened)) == pytest.approx(level_db(opened), abs=1e-3)


def _ordinary() -> dict[str, tuple[np.ndarray, ...]]:
    length = 8 * HERTZ
    one, other = spoken("command", length), spoken("sentence", length, 4 * HERTZ)
    hum = 0.2 * np.sin(np.arange(length) * 2 * np.pi * 50 / HERTZ)
    word = np.zeros(length, np.float32)
    word[70_000:74_000] = one[6_000:10_000]
    return {
        "the same in both": (one, one),
        "one softer": (one + other, 0.3 * (one + other)),
        "a call": (one, other),
        "a call with hiss": (one + hiss(length, -50, 1), other + hiss(length, -45, 2)),
        "a call with crosstalk": (one + 0.03 * other, other + 0.03 * one),
        "both at once": (spoken("command", length), spoken("sentence", length)),
        "one says a single word": (word, one + other),
        "one says a single word, with hiss": (word + hiss(length, -50, 1), one + other + hiss(length, -60, 2)),
        "hum in opposite phase": (one + other + hum, one + other - hum),
        "hiss alone": (hiss(length, -40, 1), hiss(length, -40, 2)),
        "silence": (np.zeros(length), np.zeros(length)),
        "two tones": (np.sin(np.arange(length) / 5) / 3, np.sin(np.arange(length) / 2) / 3),
        "four speakers": (one, other, np.roll(one, 30_000), np.roll(other, -20_000)),
        "one of four inverted": (one, one, -one, one),
    }


@pytest.mark.parametrize("name", _ordinary())
def test_ordinary_recordings_stay_exactly_the_average(name: str):
    """What was measured and compared with the reference was measured on it."""
    channels = np.stack(_ordinary()[name], axis=1).astype(np.float32)
    average = (channels @ np.full(channels.shape[1], 1 / channels.shape[1], np.float32)).astype(np.float32)
    np.testing.assert_array_equal(load_audio((channels, HERTZ)).samples, average)


def _encoded(samples: np.ndarray, hertz: int, kind: str = "WAV", subtype: str | None = None) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, hertz, format=kind, subtype=subtype)
    return buffer.getvalue()


def test_the_choice_does_not_depend_on_how_the_recording_is_cut_into_blocks():
    """A switch between two blocks would tear a word."""
    rng = np.random.default_rng(5)
    voice = np.tile(spoken("sentence"), 4)
    channels = np.stack([voice + hiss(len(voice), -35, 1), -0.7 * voice + hiss(len(voice), -35, 2)], axis=1)

    def bands(cuts: list[int]) -> list[np.ndarray]:
        levels = ChannelLevels(HERTZ, np.array([[0.5, 0.5]]))
        for block in np.split(channels, cuts):
            levels.push(block)
        return list(levels.bands())

    whole = bands([])
    for count in (1, 10, 3000):
        cut = bands(sorted(rng.integers(0, len(channels), count)))
        assert all(np.array_equal(a, b) for a, b in zip(whole, cut, strict=True))


@pytest.mark.parametrize(("kind", "subtype"), [("WAV", "FLOAT"), ("FLAC", "PCM_24"), ("OGG", "VORBIS"), ("MP3", None)])
def test_a_file_of_many_blocks_is_mixed_as_its_array_is(kind: str, subtype: str | None, tmp_path: Path):
    """The phrase is in the last block, the choice holds from the first."""
    length = 40 * HERTZ
    voice = spoken("sentence", length, 36 * HERTZ)
    noises = [hiss(length, -50, seed) for seed in (1, 2)]
    data = _encoded(np.stack([voice + noises[0], -voice + noises[1]], axis=1), HERTZ, kind, subtype)
    decoded, _ = soundfile.read(io.BytesIO(data), dtype="float32")
    with open_mono(data) as opened:
        samples = np.concatenate(list(opened.blocks))
    np.testing.assert_allclose(samples, load_audio((decoded, HERTZ)).samples, atol=1e-7)
    assert level_db(samples[36 * HERTZ :]) > level_db(voice[36 * HERTZ :]) - 3
    (tmp_path / "a").write_bytes(data)
    np.testing.assert_array_equal(samples, load_audio(tmp_path / "a").samples)


@pytest.mark.parametrize("seed", range(12))
def test_whatever_is_done_to_the_copies_the_voice_is_in_the_mix(seed: int):
    """Random gains, signs, delays, hiss, rates and numbers of channels."""
    rng = np.random.default_rng(seed)
    hertz = int(rng.choice([8_000, 16_000, 44_100, 48_000]))
    voice = np.interp(np.arange(2 * hertz) * HERTZ / hertz, np.arange(2 * HERTZ), spoken("sentence")[: 2 * HERTZ])
    voice = voice.astype(np.float32)
    channels = []
    for index in range(int(rng.choice([2, 2, 3, 6]))):
        gain = rng.choice([-1, 1]) * rng.uniform(0.3, 1)
        copy = gain * late(voice, int(rng.choice([0, 0, 1, 5, 30])))
        channels.append(copy + hiss(len(voice), rng.uniform(-80, -40), 100 * seed + index))
    mix = load_audio((np.stack(channels, axis=1), hertz)).samples
    loudest = load_audio((max(channels, key=level_db), hertz)).samples
    frames = [part[: len(part) // 1024 * 1024].reshape(-1, 1024) for part in (mix, loudest)]
    kept, wanted = (np.array([level_db(frame) for frame in part]) for part in frames)
    speech = wanted > wanted.max() - 20
    average_share_db = 20 * np.log10(len(channels))
    assert np.mean(kept[speech] > wanted[speech] - max(10, average_share_db)) > 0.9


@pytest.mark.parametrize("number", [1, 2, 3])
def test_one_channel_can_be_asked_for(number: int):
    channels = np.stack([spoken("command", 3 * HERTZ), spoken("sentence", 3 * HERTZ), hiss(3 * HERTZ, -40)], axis=1)
    np.testing.assert_array_equal(load_audio((channels, HERTZ), channel=number).samples, channels[:, number - 1])
    with open_mono(_encoded(channels, HERTZ, "WAV", "FLOAT"), number) as opened:
        np.testing.assert_array_equal(np.concatenate(list(opened.blocks)), channels[:, number - 1])


@pytest.mark.parametrize(
    ("channel", "message"),
    [(3, r"has 2 channels, so no channel 3; use 1 to 2"), (0, "channel is 0"), ("left", "channel is 'left'")],
)
def test_a_channel_that_is_not_there_is_refused(channel: object, message: str):
    with pytest.raises(ConfigError, match=message):
        load_audio((np.zeros((HERTZ, 2), np.float32), HERTZ), channel=channel)  # type: ignore[arg-type]


def test_damage_behind_a_stereo_files_first_blocks_is_found_when_it_is_read():
    """The look at the channels comes first, and must not refuse what was good before the damage."""
    voice = spoken("sentence", 40 * HERTZ)
    channels = np.stack([voice, -voice], axis=1)
    channels[-1] = np.nan
    with open_mono(_encoded(channels, HERTZ, "WAV", "FLOAT")) as opened:
        np.testing.assert_array_equal(np.abs(next(opened.blocks)), np.abs(voice[: 1 << 19]))
        with pytest.raises(ConfigError, match="is nan"):
            next(opened.blocks)


def test_the_look_at_the_channels_can_be_stopped():
    """Of hours of stereo it takes seconds."""
    data = _encoded(np.zeros((70 * HERTZ, 2)), HERTZ)
    with pytest.raises(Stopped), open_mono(data, should_stop=lambda: True):
        pass


def test_memory_does_not_grow_with_the_recording(monkeypatch: pytest.MonkeyPatch):
    """What comes after a day of stereo is not measured."""
    monkeypatch.setattr("edgephi.audio.channel_levels._MOST_BYTES", 8 * 6 * 100)
    levels: list[ChannelLevels] = []

    def measure(_: list[int], mixes: np.ndarray) -> ChannelLevels:
        levels.append(ChannelLevels(HERTZ, mixes))
        for _ in range(20):
            levels[-1].push(hiss(HERTZ * 4, -30).reshape(-1, 2))
        return levels[-1]

    assert choose_mix(measure, 2) is None
    assert 100 <= len(next(levels[0].bands())) < 300


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ([0, 1], "so channel 2 alone is used"),
        ([0.5, -0.5], "so the difference of channels 1 and 2 is used"),
        ([0.5, 0, 0.5], "so only channels 1, 3 are used"),
        ([1 / 3, 2 / 3], "so channel 2 at twice the level of the other is used"),
    ],
)
def test_a_mix_other_than_the_average_is_reported(weights: list[float], words: str):
    assert mix_note("a.wav", np.array(weights)).endswith(words)


def test_a_note_reports_another_mix_and_never_the_average():
    voice = spoken("sentence")
    for right, count in ((-voice, 1), (voice, 0)):
        with open_mono(_encoded(np.stack([voice, right], axis=1), HERTZ)) as opened:
            assert len(opened.notes) == count


def test_six_lost_moments_within_a_second_are_a_word():
    """However little that is of the whole recording."""
    candidates = [np.array([0.5, 0.5]), np.array([0.5, -0.5])]
    lost, moments, over_noise = np.array([0.02, 0.0]), np.array([6, 0]), np.ones(2)
    for most, best in ((5, 0), (6, 1)):
        findings = _Findings(candidates, lost, moments, np.array([most, 0]), over_noise, np.ones(2, np.bool_))
        assert findings.best() is candidates[best]


@pytest.mark.parametrize(("lost", "chosen"), [(0.2, 1), (0.21, 0)])
def test_the_average_gives_way_to_what_loses_half_as_much_and_no_more(lost: float, chosen: int):
    candidates = [np.array([0.5, 0.5]), np.array([0.0, 1.0])]
    found = _Findings(
        candidates=candidates, lost=np.array([0.4, lost]), lost_moments=np.array([9, 0]),
        most_at_once=np.array([9, 0]), over_noise=np.array([0.0, 5.0]), is_used=np.array([True, True]),
    )  # fmt: skip
    assert found.best() is candidates[chosen]
