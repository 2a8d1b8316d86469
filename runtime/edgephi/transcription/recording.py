"""A recording of any length, read in blocks.

Owns the way from a source to mono blocks at a rate the model hears. Knows nothing about speech, windows or the model;
decoding and its checks are audio.py's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgephi.audio import AudioSource, load_audio, open_sound
from edgephi.mel import NARROW_RATE_HZ, SAMPLE_RATE_HZ
from edgephi.resampling import resampled


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """An open recording.

    Attributes:
        sample_rate_hz: 16000, or 8000 for telephone speech, which the model hears as it is.
        duration_s: As the file's header has it; what `blocks` yields decides.
        blocks: float32 [n] each, mono, full scale 1.0, in order. Can be read once, while the recording is open.
    """

    sample_rate_hz: int
    duration_s: float
    blocks: Iterator[NDArray[np.float32]]


@contextmanager
def open_recording(source: AudioSource) -> Iterator[Recording]:
    """Open a path, which is then read as it is used; bytes and arrays, which are in memory anyway, are read at once.

    Raises:
        ConfigError: As `load_audio`; damage further on in a file is found when its block is read.
        CapacityError: As `load_audio`, for bytes and arrays only: a file may be of any length.
    """
    if not isinstance(source, str | Path):
        clip = load_audio(source)
        yield Recording(sample_rate_hz=clip.sample_rate_hz, duration_s=clip.duration_s, blocks=_pieces(clip.samples))
        return
    with open_sound(source) as sound:
        hertz = sound.sample_rate_hz
        target_hertz = NARROW_RATE_HZ if hertz == NARROW_RATE_HZ else SAMPLE_RATE_HZ
        yield Recording(
            sample_rate_hz=target_hertz,
            duration_s=sound.num_samples / hertz,
            blocks=resampled(sound.blocks, hertz, target_hertz),
        )


def _pieces(samples: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """Views of at most a minute."""
    size = 60 * SAMPLE_RATE_HZ
    for start in range(0, len(samples), size):
        yield samples[start : start + size]
