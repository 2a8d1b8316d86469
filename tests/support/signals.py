"""Audio and images made by arithmetic, the same on every machine.

Images are drawn with NumPy alone, so that no
drawing library's version changes a pixel.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from support.random_values import uniform


def random_audio(name: str, seconds: float, rate_hz: int) -> NDArray[np.float32]:
    """float32 [seconds * rate_hz], a voice-like signal: harmonics of a gliding tone, syllables, noise.

    Samples are rounded to 16 bits, so a last-bit difference of a sine does not reach the model.
    """
    count = round(seconds * rate_hz)
    time = np.arange(count) / rate_hz
    pitch = 110.0 + 60.0 * np.sin(2.0 * math.pi * 0.7 * time)
    phase = 2.0 * math.pi * np.cumsum(pitch) / rate_hz
    harmonics = (1, 2, 3, 5, 8, 13)
    tone = sum(np.sin(k * phase) / k * (1.0 + np.sin(2.0 * math.pi * 0.31 * k * time)) for k in harmonics)
    syllables = np.clip(1.5 * np.sin(2.0 * math.pi * 2.3 * time) + 0.8, 0.02, 1.0)
    noise = uniform(f"clip {name}", 0, (count,)).astype(np.float64)
    samples = 0.12 * tone * syllables + 0.03 * noise
    return (np.round(samples * 32767.0) / 32768.0).astype(np.float32)


def random_image(name: str, width: int, height: int) -> NDArray[np.uint8]:
    """uint8 [height, width, 3]: a colour gradient, rings, bars and a little noise; no symmetry."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    u, v = x / max(width - 1, 1), y / max(height - 1, 1)
    rings = np.sin(0.25 * np.hypot(x - 0.3 * width, y - 0.6 * height))
    bars = np.sign(np.sin(0.4 * x + 0.1 * y))
    red = 40.0 + 150.0 * u + 40.0 * rings
    green = 200.0 - 120.0 * v + 45.0 * bars * (u > 0.4)
    blue = 90.0 + 70.0 * u * v + 60.0 * rings * (v < 0.7)
    noise = 12.0 * uniform(f"picture {name}", 0, (height, width, 3)).astype(np.float64)
    colours = np.stack([red, green, blue], axis=-1) + noise
    return np.clip(np.round(colours), 0, 255).astype(np.uint8)
