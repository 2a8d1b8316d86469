"""A recording of any length, read in blocks.

A source becomes mono blocks at a rate that the model takes; decoding and its checks are in audio/.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgephi.audio.channel_choice import ALL, MIX, Channel, Channels, check_channel
from edgephi.audio.decoding import AudioSource, load_audio, open_mono
from edgephi.audio.log_mel import NARROW_RATE_HZ, SAMPLE_RATE_HZ
from edgephi.audio.recording_file import open_recording_file
from edgephi.audio.resampling import resampled
from edgephi.base.cancellation import never
from edgephi.sources.open_files import plain_source


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """An open recording.

    Attributes:
        sample_rate_hz: 16000, or 8000 for telephone speech, which the model takes as it is.
        duration_s: As the file's header has it; what `blocks` yields decides.
        blocks: float32 [n] each, mono, full scale 1.0, in order. Can be read once, while the recording is open.
        channel: Which one it is, from 1, where each is transcribed on its own; None otherwise.
        notes: Remarks for the user on a file that is read whole, a line each.
    """

    sample_rate_hz: int
    duration_s: float
    blocks: Iterator[NDArray[np.float32]]
    channel: int | None = None
    notes: tuple[str, ...] = ()


@contextmanager
def open_recordings(
    source: AudioSource, channel: Channels = MIX, should_stop: Callable[[], bool] = never
) -> Iterator[list[Recording]]:
    """Open each channel on its own when `channel` is `all` and there are several; otherwise one recording.

    Each is read on its own, however far the others are, so that memory stays bounded.

    Raises:
        EdgeError: As `open_recording`.
        Stopped: `should_stop` returned True.
    """
    check_channel(channel, may_be_all=True)
    source = plain_source(source, "audio")  # an open file can be read only once
    with ExitStack() as stack:
        numbers = range(1, _count_channels(source) + 1) if channel == ALL else ()
        if len(numbers) > 1:
            opened = (replace(stack.enter_context(open_recording(source, n)), channel=n) for n in numbers)
            yield list(opened)
        else:
            one = MIX if channel == ALL else channel
            yield [stack.enter_context(open_recording(source, one, should_stop))]


@contextmanager
def open_recording(
    source: AudioSource, channel: Channel = MIX, should_stop: Callable[[], bool] = never
) -> Iterator[Recording]:
    """Open a path, which is then read as it is used; bytes and arrays, which are in memory anyway, are read at once.

    Args:
        source: As `load_audio` takes it.
        channel: `mix`, or the number of one channel from 1.
        should_stop: Called while a file's channels are looked at.

    Raises:
        ConfigError: As `load_audio`; damage further on in a file is found when its block is read.
        CapacityError: As `load_audio`, for bytes and arrays only: a file may be of any length.
        Stopped: `should_stop` returned True.
    """
    if not isinstance(source, str | Path):
        waveform = load_audio(source, channel=channel)
        yield Recording(
            sample_rate_hz=waveform.sample_rate_hz,
            duration_s=waveform.duration_s,
            blocks=_pieces(waveform.samples),
            notes=waveform.notes,
        )
        return
    with open_mono(source, channel, should_stop) as opened:
        hertz = opened.sample_rate_hz
        target_hertz = NARROW_RATE_HZ if hertz == NARROW_RATE_HZ else SAMPLE_RATE_HZ
        yield Recording(
            sample_rate_hz=target_hertz,
            duration_s=opened.num_samples / hertz,
            blocks=resampled(opened.blocks, hertz, target_hertz),
            notes=opened.notes,
        )


def _count_channels(source: AudioSource) -> int:
    if isinstance(source, str | Path | bytes):
        with open_recording_file(source) as opened:
            return opened.num_channels
    if isinstance(source, tuple) and isinstance(source[0], np.ndarray) and source[0].ndim == 2:
        return int(source[0].shape[1])
    return 1


def _pieces(samples: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """Views of at most a minute."""
    size = 60 * SAMPLE_RATE_HZ
    for start in range(0, len(samples), size):
        yield samples[start : start + size]
