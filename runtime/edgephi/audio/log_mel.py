"""Log-mel features of one mono waveform, as Phi-4-multimodal's speech encoder expects them.

16 kHz: frames of 400 samples every 160, FFT 512        8 kHz: frames of 200 every 80, FFT 256, upper half zero
T = (n - frame) // hop + 1, no padding; one feature row per 10 ms, one embedding row per 80 ms
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgephi.base.errors import ConfigError

NUM_MELS = 80
SAMPLE_RATE_HZ = 16_000
NARROW_RATE_HZ = 8_000
_FRAME_S = 0.025
_HOP_S = 0.010
_NUM_BINS = 257
_MAX_HZ = 7690.0
_PREEMPHASIS = 0.97
_BLOCK_FRAMES = 2048


@dataclass(frozen=True, slots=True)
class Waveform:
    """Mono audio of at least one frame.

    Attributes:
        samples: float32 [n], full scale is 1.0. Finite.
        sample_rate_hz: 16000 or 8000.
        notes: What the user should know of the file it comes from though it was read whole, a line each.

    Raises:
        ConfigError: Another rate, rank or dtype, NaN or infinite samples, or less than 25 ms.
    """

    samples: NDArray[np.float32]
    sample_rate_hz: int = SAMPLE_RATE_HZ
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.sample_rate_hz not in (SAMPLE_RATE_HZ, NARROW_RATE_HZ):
            raise ConfigError(f"sample rate is {self.sample_rate_hz} Hz; a waveform has 16000 or 8000: use load_audio")
        if self.samples.dtype != np.float32 or self.samples.ndim != 1:
            raise ConfigError(
                f"samples are {self.samples.dtype} of shape {list(self.samples.shape)}; "
                "a waveform is float32 [n]: use load_audio"
            )
        if len(self.samples) < (least := round(_FRAME_S * self.sample_rate_hz)):
            raise ConfigError(
                f"{len(self.samples)} samples at {self.sample_rate_hz} Hz; "
                f"the shortest audio is one frame of 25 ms, {least} samples: give a longer recording"
            )
        if not np.isfinite(self.samples).all():
            bad = len(self.samples) - int(np.isfinite(self.samples).sum())
            raise ConfigError(f"{bad:,} samples are NaN or infinite; repair or re-record the audio")

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.samples) / self.sample_rate_hz

    @property
    def num_frames(self) -> int:
        """Feature rows `log_mel` returns."""
        frame, hop = _frame_and_hop(self.sample_rate_hz)
        return (len(self.samples) - frame) // hop + 1


def log_mel(waveform: Waveform) -> NDArray[np.float32]:
    """Natural logarithm of the mel energies, clipped below at 1 (so never negative).

    Formula: the checkpoint's feature extractor (`processing_phi4mm.py`): pre-emphasis inside each frame, symmetric
    Hamming window, power spectrum of the signal scaled to 16 bits. Audio at 8 kHz is not resampled: its spectrum
    fills the lower half and the rest is zero, which is how the model was trained on telephone speech.

    Returns:
        float32 [T, 80], T = `waveform.num_frames`. Work memory does not grow with its length.
    """
    frame, hop = _frame_and_hop(waveform.sample_rate_hz)
    frames = np.lib.stride_tricks.sliding_window_view(waveform.samples, frame)[::hop]
    features = np.empty((len(frames), NUM_MELS), np.float32)
    for start in range(0, len(frames), _BLOCK_FRAMES):
        stop = start + _BLOCK_FRAMES
        features[start:stop] = _block(frames[start:stop])
    return features


def duration_s(num_frames: int) -> float:
    """Seconds of a recording with this many feature rows, to a hundredth."""
    return round((num_frames - 0.5) * _HOP_S + _FRAME_S, 2)


def num_audio_rows(num_frames: int, time_reduction: int = 8) -> int:
    """Embedding rows the speech encoder returns for `num_frames` feature rows."""
    return -(-num_frames // time_reduction)


def _frame_and_hop(sample_rate_hz: int) -> tuple[int, int]:
    return round(_FRAME_S * sample_rate_hz), round(_HOP_S * sample_rate_hz)


def _block(frames: NDArray[np.float32]) -> NDArray[np.float64]:
    """[F, frame] samples -> [F, 80] log energies."""
    size = frames.shape[1]
    previous = np.empty_like(frames)
    previous[:, 1:] = frames[:, :-1]
    previous[:, 0] = frames[:, 0]  # nothing comes before the frame: its first sample is paired with itself
    emphasized = (frames - np.float32(_PREEMPHASIS) * previous) * np.float32(32768)
    spectrum = np.fft.rfft(emphasized * np.hamming(size), n=_fft_size(size))
    power = np.square(np.abs(spectrum).astype(np.float32)).astype(np.float64)
    filters = _mel_filters()
    if size != _frame_and_hop(SAMPLE_RATE_HZ)[0]:
        # 8 kHz: the Nyquist bin is dropped too, and everything from there up counts as zero.
        power = power[:, :-1]
        filters = filters[: power.shape[1]]
    energies: NDArray[np.float64] = np.log(np.maximum(power @ filters, 1.0))
    return energies


def _fft_size(frame: int) -> int:
    return 1 << (frame - 1).bit_length()


@functools.cache
def _mel_filters() -> NDArray[np.float64]:
    """[257, 80] triangles, equally wide on the mel scale 1127 ln(1 + f/700) from 0 to 7690 Hz.

    Bin 0 and the bins from 7690 Hz up are excluded, as in SpeechLib's filter bank, which the model was trained with.
    """
    hertz_per_bin = SAMPLE_RATE_HZ / (2 * (_NUM_BINS - 1))
    bins = np.arange(_NUM_BINS)
    mels = 1127.0 * np.log1p(bins * hertz_per_bin / 700.0)
    edges = np.linspace(0.0, 1127.0 * np.log1p(_MAX_HZ / 700.0), NUM_MELS + 2)
    filters: NDArray[np.float64] = np.maximum(0.0, 1.0 - np.abs(mels[:, None] - edges[1:-1]) / (edges[1] - edges[0]))
    filters[(bins < 1) | (bins >= int(_MAX_HZ / hertz_per_bin + 0.5))] = 0.0
    return filters
