"""A long recording: held-out sentences by many voices, with pauses, in one room.

It comes with the truth: which words are spoken and when. Needs no torch.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np

from edgephi_nano.config import SAMPLE_RATE_HZ
from edgephi_nano.espeak import say_all
from edgephi_nano.speech_data import KNOWN_VOICES, any_voice, spoken_text

_LEVEL = 0.05  # of the voices, root mean square
_HEARD = 0.02  # of a clip's peak: where its sound begins and ends
_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 2.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """What one voice says, and when, in seconds from the recording's start."""

    text: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LongRecording:
    """Sentences in order.

    Attributes:
        samples: float32 [n] in -1..1 at 16 kHz.
        sentences: In order.
    """

    samples: np.ndarray
    sentences: tuple[Sentence, ...]

    def alone(self, sentence: Sentence) -> np.ndarray:
        """float32 [n]: the sentence with 0.3 s of the room around it. A view."""
        start, end = (round(s * SAMPLE_RATE_HZ) for s in (sentence.start_s - 0.3, sentence.end_s + 0.3))
        return self.samples[max(start, 0) : end]


def long_recording(seconds: float, seed: int, noise_db: float = 25.0) -> LongRecording:
    """Held-out sentences with pauses of 1 to 2.5 s until `seconds` are full; white noise `noise_db` below the voices.

    The same on every machine with the same espeak-ng.
    """
    rng = random.Random(f"recording {seed}")
    spoken = [(spoken_text(rng, held_out=True), any_voice(rng, KNOWN_VOICES)) for _ in range(round(seconds))]
    parts, sentences, length = [], [], 0
    for (text, _), said in zip(spoken, say_all(spoken), strict=True):
        pause = round(rng.uniform(_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S) * SAMPLE_RATE_HZ)
        if length + pause + len(said) > seconds * SAMPLE_RATE_HZ:
            break
        heard = np.flatnonzero(np.abs(said) > _HEARD * np.abs(said).max())
        length += pause
        start_s, end_s = ((length + sample) / SAMPLE_RATE_HZ for sample in (int(heard[0]), int(heard[-1]) + 1))
        sentences.append(Sentence(text=text, start_s=start_s, end_s=end_s))
        parts += [np.zeros(pause, np.float32), said * np.float32(_LEVEL / np.sqrt(np.mean(said**2)))]
        length += len(said)
    samples = np.concatenate([*parts, np.zeros(round(seconds * SAMPLE_RATE_HZ) - length, np.float32)])
    noise = np.random.default_rng(seed).standard_normal(len(samples), dtype=np.float32)
    samples += noise * np.float32(_LEVEL * 10 ** (-noise_db / 20))
    return LongRecording(samples=samples, sentences=tuple(sentences))
