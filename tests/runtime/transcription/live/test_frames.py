"""However audio comes in pieces, its frames are those of the whole recording."""

from __future__ import annotations

import numpy as np
import pytest

from edgephi.audio.resampling import resampled
from edgephi.base.errors import ConfigError
from edgephi.transcription.live.frames import LiveFrames
from edgephi.transcription.recording import open_recording
from edgephi.transcription.speech import _pairs

RNG = np.random.default_rng(5)


def _pieces(samples: np.ndarray, sizes: list[int]) -> list[np.ndarray]:
    pieces, start = [], 0
    while start < len(samples):
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(samples[start : start + size])
        start += size
    return pieces


@pytest.mark.parametrize("hertz", [8_000, 11_025, 16_000, 24_000, 44_100, 48_000])
@pytest.mark.parametrize("sizes", [[1, 7, 0, 160], [480], [100_000]])
def test_frames_are_those_of_the_whole_recording(hertz: int, sizes: list[int]):
    samples = (0.1 * RNG.standard_normal(round(1.013 * hertz))).astype(np.float32)
    frames = LiveFrames(hertz)
    made = [pair for piece in _pieces(samples, sizes) for pair in frames.push(piece)]
    made += frames.end()
    own = np.concatenate(list(resampled(iter([samples]), hertz, frames.sample_rate_hz)))
    with open_recording((own, frames.sample_rate_hz)) as recording:
        whole = list(_pairs(recording))
    assert len(made) == len(whole)
    for (live, detected), (kept, known) in zip(made, whole, strict=True):
        np.testing.assert_array_equal(live, kept)
        np.testing.assert_array_equal(detected, known)


def test_a_frame_comes_with_its_last_sample():
    """Nothing is held back that could be judged already."""
    frames = LiveFrames(16_000)
    counts = [len(list(frames.push(np.zeros(160, np.float32)))) for _ in range(16)]
    assert np.cumsum(counts).tolist() == [(n * 160) // 512 for n in range(1, 17)]


@pytest.mark.parametrize("hertz", [0, 7_999, 10**6])
def test_a_rate_that_the_model_cannot_take_is_refused(hertz: int):
    with pytest.raises(ConfigError, match="the model takes 8,000 to 768,000 Hz"):
        LiveFrames(hertz)
