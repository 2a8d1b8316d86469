"""Which channels of a recording are heard."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgephi.checks import is_whole
from edgephi.errors import ConfigError

MIX: Literal["mix"] = "mix"

#: All channels as one, or the number of one from 1.
Channel = int | Literal["mix"]


def check_channel(channel: Any) -> None:
    """Raise ConfigError for what is neither `mix` nor a number from 1."""
    if channel != MIX and not (is_whole(channel) and channel >= 1):
        raise ConfigError(f"channel is {channel!r}; use 'mix' or the number of a channel, from 1")


def channel_weights(channel: Channel, num_channels: int, name: str) -> NDArray[np.float64] | None:
    """What each channel is multiplied by in the sum, float64 [num_channels]; None for their average.

    Raises:
        ConfigError: The recording has no such channel.
    """
    check_channel(channel)
    if channel == MIX:
        return None
    if channel > num_channels:
        have = "1 channel" if num_channels == 1 else f"{num_channels} channels"
        raise ConfigError(f"{name}: has {have}, so no channel {channel}; use 1 to {num_channels} or 'mix'")
    weights = np.zeros(num_channels)
    weights[channel - 1] = 1.0
    return weights
