"""The reference's log-mel features: transformers' extractor at 16 kHz, the same rules written out at 8 kHz.

transformers' extractor refuses 8 kHz, which the original implementation handles. Shares no code with the runtime.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import Phi4MultimodalFeatureExtractor


def log_mel(samples: NDArray[np.float32], rate_hz: int) -> torch.Tensor:
    """float32 [1, T, 80] of one recording at 16 or 8 kHz."""
    extractor = Phi4MultimodalFeatureExtractor()
    if rate_hz == 16000:
        return extractor(samples, sampling_rate=rate_hz, return_tensors="pt").audio_input_features
    if rate_hz != 8000:
        raise ValueError(f"the reference has no rule for {rate_hz} Hz")
    frames = torch.from_numpy(samples).double().unfold(0, 200, 80)
    previous = torch.cat([frames[:, :1], frames[:, :-1]], dim=1)  # the first sample is paired with itself
    window = torch.hamming_window(200, periodic=False, dtype=torch.float64)
    spectrum = torch.fft.rfft((frames - 0.97 * previous) * 32768 * window, n=256, dim=1).abs().float()
    power = torch.zeros(len(frames), 257)
    power[:, :128] = spectrum[:, :128] ** 2
    filters = torch.from_numpy(extractor.mel_filters).float()
    return (power @ filters).clamp(min=1.0).log()[None]
