"""Spoken clips for training and testing: who says what, in what room, over what noise.

Deterministic for a given generator; needs no torch.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np

from edgephi_nano.config import SAMPLE_RATE_HZ
from edgephi_nano.espeak import Voice, say, say_all
from edgephi_nano.sentences import QUESTIONS, any_command, any_number, any_statement, on_side, random_words
from edgephi_nano.vocabulary import words

ACCENTS = ("en", "en-us", "en-gb-x-rp", "en-gb-scotland", "en-029", "en-us-nyc", "en-gb-x-gbcwmd")
SPEAKERS = words(
    "m1 m2 m3 m4 m5 m7 m8 f1 f2 f3 f4 adam belinda david edward john max michel paul quincy rob sandro steph victor "
    "Alex Andy Annie Gene Lee Mike Michael travis caleb"
)
KNOWN_VOICES = tuple(f"{accent}+{speaker}" for accent in ACCENTS for speaker in SPEAKERS)
UNSEEN_VOICES = tuple(
    [f"{accent}+{speaker}" for accent in ("en", "en-us", "en-gb-x-rp") for speaker in ("m6", "f5", "linda", "benjamin")]
    + [f"en-gb-x-gbclan+{speaker}" for speaker in ("m3", "f2")]
)
"""Speakers no training clip has, and one accent no training clip has."""


def any_voice(rng: random.Random, names: tuple[str, ...]) -> Voice:
    """One of the named voices at an everyday speed and pitch."""
    return Voice(
        name=rng.choice(names),
        rate=rng.randint(125, 215),
        pitch=rng.randint(25, 75),
        pitch_range=rng.randint(25, 75),
        word_gap=rng.choice((0, 0, 0, 1, 2)),
    )


def spoken_text(rng: random.Random, *, held_out: bool) -> str:
    """A command, number or short sentence from one side of the split."""
    kind = rng.choice(("command", "command", "number", "statement"))
    if kind == "command":
        return on_side(any_command, rng, held_out=held_out).text
    return on_side(any_number if kind == "number" else any_statement, rng, held_out=held_out)


def training_text(rng: random.Random) -> str:
    """What training clips say: the tested kinds, the spoken questions, and words in no order."""
    chance = rng.random()
    if chance < 0.22:
        return random_words(rng, rng.randint(1, 8))
    if chance < 0.32:
        return rng.choice(QUESTIONS)
    return spoken_text(rng, held_out=False)


def _noise(rng: np.random.Generator, size: int) -> np.ndarray:
    """White to brown noise of unit power, float32 [size]."""
    slope = rng.uniform(0.0, 1.0)
    spectrum = np.fft.rfft(rng.standard_normal(size, dtype=np.float32))
    spectrum *= np.maximum(np.arange(len(spectrum)), size / 400) ** -slope  # flat below 40 Hz
    noise = np.fft.irfft(spectrum, n=size).astype(np.float32)
    return noise / (np.sqrt(np.mean(noise**2)) + 1e-9)


def _echo(rng: np.random.Generator, samples: np.ndarray) -> np.ndarray:
    """A few reflections within 60 ms."""
    heard = samples.copy()
    for _ in range(int(rng.integers(1, 5))):
        delay = int(rng.integers(20, SAMPLE_RATE_HZ * 60 // 1000))
        heard[delay:] += rng.uniform(0.05, 0.35) * samples[:-delay]
    return heard


def recorded(rng: np.random.Generator, samples: np.ndarray) -> np.ndarray:
    """`samples` as a microphone in a room would hear them: silence around, echo, noise at 10..40 dB, any level."""
    before, after = rng.integers(0, SAMPLE_RATE_HZ * 4 // 10, size=2)
    loudness = np.sqrt(np.mean(samples**2)) + 1e-9
    heard = np.concatenate([np.zeros(before, np.float32), samples / loudness, np.zeros(after + 400, np.float32)])
    if rng.random() < 0.3:
        heard = _echo(rng, heard)
    if rng.random() < 0.85:
        heard = heard + _noise(rng, len(heard)) * np.float32(10 ** (-rng.uniform(10, 40) / 20))
    level = 10 ** (rng.uniform(-15, 0) / 20) * 0.95
    return (heard * (level / (np.abs(heard).max() + 1e-9))).astype(np.float32)


def clip_of(text: str, rng: random.Random, voices: tuple[str, ...]) -> np.ndarray:
    """`text` said by one of `voices` and recorded.

    Returns:
        float32 [n] in -1..1 at 16 kHz.
    """
    return recorded(np.random.default_rng(rng.getrandbits(32)), say(text, any_voice(rng, voices)))


def clips_of(texts: Sequence[str], rng: random.Random, voices: tuple[str, ...]) -> list[np.ndarray]:
    """Like `clip_of` for many texts, and the same on every run: for held-out sets."""
    chosen = [any_voice(rng, voices) for _ in texts]
    noises = [np.random.default_rng(rng.getrandbits(32)) for _ in texts]
    said = say_all(list(zip(texts, chosen, strict=True)))
    return [recorded(noise, samples) for noise, samples in zip(noises, said, strict=True)]
