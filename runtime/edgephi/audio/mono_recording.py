"""An audio file of any length as one channel: a mix of all that loses none, or one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgephi.audio.channel_choice import MIX, Channel, ChannelProbe, channel_weights, mix_note
from edgephi.audio.mixing import mono
from edgephi.audio.recording_file import open_recording_file
from edgephi.base.cancellation import never
from edgephi.sources.source import media_name


@dataclass(frozen=True, slots=True, kw_only=True)
class MonoRecording:
    """An open file of any length, read block by block.

    Attributes:
        sample_rate_hz: As it was recorded.
        num_channels: As it was recorded.
        num_samples: As the file's header has it; what `blocks` yields decides.
        blocks: float32 [n] each, full scale 1.0, in order. Can be read once, while the file is open.
        notes: Remarks for the user on a file that is read whole, a line each.
    """

    sample_rate_hz: int
    num_channels: int
    num_samples: int
    blocks: Iterator[NDArray[np.float32]]
    notes: tuple[str, ...]


@contextmanager
def open_mono(
    source: str | Path | bytes, channel: Channel = MIX, should_stop: Callable[[], bool] = never
) -> Iterator[MonoRecording]:
    """Open a file, or the bytes of one, that may be longer than a request can hold.

    Args:
        source: The file.
        channel: `mix`, or the number of one channel from 1. For a mix of several the file is read twice.
        should_stop: Called while it is read for the first time.

    Raises:
        ConfigError: As `load_audio`; damage further on is found when its block is read.
        Stopped: `should_stop` returned True.
    """
    name = media_name(source, "audio")
    with open_recording_file(source) as opened:
        probe = ChannelProbe(
            sample_rate_hz=opened.sample_rate_hz,
            num_channels=opened.num_channels,
            name=name,
            open_blocks=partial(_blocks, source),
            should_stop=should_stop,
        )
        weights = channel_weights(channel, probe)
        yield MonoRecording(
            sample_rate_hz=opened.sample_rate_hz,
            num_channels=opened.num_channels,
            num_samples=opened.num_samples,
            blocks=mono(opened.blocks, name, weights),
            notes=(*opened.notes, *([mix_note(name, weights)] if channel == MIX and weights is not None else [])),
        )


@contextmanager
def _blocks(source: str | Path | bytes) -> Iterator[Iterator[NDArray[np.float32]]]:
    with open_recording_file(source) as opened:
        yield opened.blocks
