"""Log-mel features against the rules written as plain loops."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest

from edgephi.audio.log_mel import Waveform, log_mel, num_audio_rows


def sweep(hertz: int, count: int, volume: float = 0.5) -> np.ndarray:
    """A rising tone over noise: every filter gets something to weigh."""
    noise = np.random.default_rng(count).normal(size=count)
    phase = 2 * np.pi * np.cumsum(np.linspace(60, 0.48 * hertz, count)) / hertz
    return (volume * (0.6 * np.sin(phase) + 0.02 * noise)).astype(np.float32)


def loop_filters() -> list[list[float]]:
    def mel(hertz: float) -> float:
        return 1127.0 * math.log(1.0 + hertz / 700.0)

    step = mel(7690.0) / 81
    table = []
    for band in range(80):
        left, centre, right = (step * (band + k) for k in range(3))
        row = [0.0] * 257
        for index in range(1, int(7690 * 512 / 16000 + 0.5)):
            here = mel(index * 31.25)
            if left < here < right:
                row[index] = 1.0 - abs(centre - here) / step
        table.append(row)
    return table


def loop_log_mel(samples: np.ndarray, frame: int, hop: int, fft: int) -> np.ndarray:
    """One frame at a time, one filter at a time; spectra by the definition of the Fourier transform."""
    window = np.array([0.54 - 0.46 * math.cos(2 * math.pi * t / (frame - 1)) for t in range(frame)])
    transform = np.exp(-2j * np.pi * np.outer(np.arange(fft // 2 + 1), np.arange(frame)) / fft)
    filters, rows = loop_filters(), []
    for start in range(0, len(samples) - frame + 1, hop):
        x = [float(v) for v in samples[start : start + frame]]
        emphasized = [(x[t] - 0.97 * x[max(t - 1, 0)]) * 32768 for t in range(frame)]
        power = np.abs(transform @ (window * emphasized)) ** 2
        if fft == 256:  # 8 kHz: Nyquist dropped, upper half empty
            power = np.concatenate([power[:128], np.zeros(129)])
        rows.append([math.log(max(1.0, float(np.dot(power, row)))) for row in filters])
    return np.array(rows)


@pytest.mark.parametrize("volume", [0.9, 0.003])
@pytest.mark.parametrize(("hertz", "frame", "hop", "fft"), [(16000, 400, 160, 512), (8000, 200, 80, 256)])
def test_features_follow_the_rules(hertz, frame, hop, fft, volume):
    """Features that drift from what the model was trained on turn words into other words."""
    samples = sweep(hertz, hertz // 2 + 57, volume)
    features = log_mel(Waveform(samples, hertz))
    expected = loop_log_mel(samples, frame, hop, fft)
    assert features.shape == expected.shape
    assert features.dtype == np.float32
    assert np.abs(features - expected).max() < 1e-3
    assert np.abs(features - expected).mean() < 1e-5


@pytest.mark.parametrize(
    ("count", "hertz", "frames"),
    [
        (400, 16000, 1),
        (559, 16000, 1),
        (560, 16000, 2),
        (16000, 16000, 98),
        (200, 8000, 1),
        (280, 8000, 2),
        (8000, 8000, 98),
    ],
)
def test_frame_counts(count, hertz, frames):
    """One frame too many would be made of padding the model never saw."""
    waveform = Waveform(sweep(hertz, count), hertz)
    assert waveform.num_frames == frames
    assert log_mel(waveform).shape == (frames, 80)


def test_silence_is_zero():
    """Energies are clipped at 1, so digital silence is 0 in every band, not minus infinity."""
    np.testing.assert_array_equal(log_mel(Waveform(np.zeros(16000, np.float32))), np.zeros((98, 80), np.float32))


def test_narrow_band_leaves_the_upper_bands_silent():
    """An 8 kHz recording has nothing above 4 kHz, whatever it holds below."""
    features = log_mel(Waveform(sweep(8000, 8000), 8000))
    upper = [band for band, row in enumerate(loop_filters()) if not any(row[:128])]
    assert upper
    assert (features[:, upper] == 0).all()
    assert features[:, 5].max() > 5


def test_a_frame_does_not_depend_on_its_place_in_long_audio():
    """Long audio is computed in blocks; a block's end must not show."""
    samples = sweep(16000, 16000 * 42)
    features = log_mel(Waveform(samples))
    for frame in (0, 2047, 2048, 2049, 4095, 4096, len(features) - 1):
        alone = log_mel(Waveform(samples[160 * frame : 160 * frame + 400]))
        np.testing.assert_allclose(features[frame], alone[0], rtol=0, atol=1e-6)


def test_work_memory_does_not_grow_with_the_length():
    """Half an hour of frames at once would be 4 GB, too much for a small device."""
    waveform = Waveform(np.zeros(16000 * 120, np.float32))
    tracemalloc.start()
    features = log_mel(waveform)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak - features.nbytes < 40e6


@pytest.mark.parametrize(("frames", "rows"), [(1, 1), (8, 1), (9, 2), (98, 13), (4000, 500), (4001, 501)])
def test_row_counts(frames, rows):
    """One row per 80 ms; the prompt reserves exactly as many slots."""
    assert num_audio_rows(frames) == rows
