"""The stored clips as training batches.

They are grouped by length, and their features are varied while training.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

NUM_MELS = 80


@dataclass(frozen=True, slots=True)
class StoredClip:
    """One clip: float16 [T, 80] log-mel features and the words in it."""

    features: np.ndarray
    text: str


def load_clips(folder: Path) -> list[StoredClip]:
    """Every clip of every complete file in `folder`."""
    clips: list[StoredClip] = []
    for path in sorted(folder.glob("[0-9][0-9][0-9].npz")):
        with np.load(path) as shard:
            parts = np.split(shard["features"], np.cumsum(shard["lengths"])[:-1])
            clips += [StoredClip(part, str(text)) for part, text in zip(parts, shard["texts"], strict=True)]
    if not clips:
        raise FileNotFoundError(f"{folder} holds no clips; run edgephi_nano.make_speech first")
    return clips


def feature_statistics(clips: list[StoredClip]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and inverse standard deviation per mel bin, float32 [80] each."""
    frames = np.concatenate([clip.features for clip in clips]).astype(np.float32)
    return frames.mean(0), 1 / frames.std(0)


def batches(rng: random.Random, clips: list[StoredClip], size: int, pool: int = 40) -> Iterator[list[StoredClip]]:
    """Batches without end, of clips of nearly equal length."""
    while True:
        drawn = sorted(rng.sample(clips, min(len(clips), size * pool)), key=lambda clip: len(clip.features))
        groups = [drawn[i : i + size] for i in range(0, len(drawn) - size + 1, size)]
        rng.shuffle(groups)
        yield from groups


def joined(clips: list[StoredClip], together: int) -> list[StoredClip]:
    """Every `together` clips as one longer clip, in order; clips left over are dropped."""
    groups = [clips[i : i + together] for i in range(0, len(clips) - together + 1, together)]
    return [
        StoredClip(np.concatenate([clip.features for clip in group]), " ".join(clip.text for clip in group))
        for group in groups
    ]


def varied(rng: np.random.Generator, features: np.ndarray, silence: np.ndarray, strength: float = 1.0) -> np.ndarray:
    """A clip as another speaker, level or microphone might give it.

    Args:
        rng: Decides what is changed.
        features: [T, 80] log-mel.
        silence: [80], what hidden bands and moments are replaced by.
        strength: 0 changes nothing, 1 as much as is useful at the end of training.

    Returns:
        float32 [T, 80]; `features` is left alone.
    """
    heard = features.astype(np.float32)
    if strength == 0:
        return heard
    heard = _stretched(heard, 1 + strength * rng.uniform(-0.12, 0.13))
    heard = np.maximum(heard + np.float32(strength * rng.uniform(-2.0, 1.0)) + strength * _tilt(rng), 0)
    for _ in range(2):
        width = int(strength * rng.integers(0, 11))
        start = int(rng.integers(0, NUM_MELS - width))
        heard[:, start : start + width] = silence[start : start + width]
    for _ in range(1 + len(heard) // 150):
        width = int(strength * rng.integers(0, 9))
        start = int(rng.integers(0, max(1, len(heard) - width)))
        heard[start : start + width] = silence
    return heard


def _stretched(features: np.ndarray, factor: float) -> np.ndarray:
    """The spectrum moved up or down, as by a shorter or longer vocal tract."""
    source = np.clip(np.arange(NUM_MELS) * factor, 0, NUM_MELS - 1)
    low = source.astype(int)
    high = np.minimum(low + 1, NUM_MELS - 1)
    part = (source - low).astype(np.float32)
    return features[:, low] * (1 - part) + features[:, high] * part


def _tilt(rng: np.random.Generator) -> np.ndarray:
    """A gentle slope over frequency, float32 [80]."""
    return np.linspace(-1, 1, NUM_MELS, dtype=np.float32) * np.float32(rng.uniform(-1.0, 1.0))
