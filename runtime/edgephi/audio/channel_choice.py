"""The choice of a recording's channels: one, all, or a mix."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgephi.audio.channel_levels import ChannelLevels
from edgephi.audio.mix_choice import choose_mix
from edgephi.audio.mixing import checked
from edgephi.base.cancellation import ask, never
from edgephi.base.errors import ConfigError
from edgephi.base.numbers import is_whole

MIX: Literal["mix"] = "mix"

ALL: Literal["all"] = "all"

#: All channels as one, or the number of one from 1.
Channel = int | Literal["mix"]

#: Also each channel on its own.
Channels = Channel | Literal["all"]


def check_channel(channel: Any, *, may_be_all: bool = False) -> None:
    """Raise ConfigError for what is neither `mix` (nor `all`, where that has a meaning) nor a number from 1."""
    names = (MIX, ALL) if may_be_all else (MIX,)
    if not (channel in names if isinstance(channel, str) else is_whole(channel) and channel >= 1):
        listed = ", ".join(map(repr, names))
        raise ConfigError(f"channel is {channel!r}; use {listed} or the number of a channel, from 1")


def channel_weights(channel: Channel, probe: ChannelProbe) -> NDArray[np.float64] | None:
    """The factor of each channel in the sum, float64 [num_channels]; None for their average.

    For a mix of several channels the whole recording is read once.

    Raises:
        ConfigError: The recording has no such channel.
        Stopped: `probe.should_stop` returned True.
    """
    check_channel(channel)
    if channel == MIX:
        return choose_mix(probe.measure, probe.num_channels) if probe.num_channels > 1 else None
    return single_channel_weights(channel, probe.num_channels, probe.name)


def single_channel_weights(channel: int, num_channels: int, name: str) -> NDArray[np.float64]:
    """The factor of each channel where one is chosen, float64 [num_channels].

    Args:
        channel: From 1.
        num_channels: Of the recording.
        name: Of the recording, for messages.

    Raises:
        ConfigError: The recording has no such channel.
    """
    if channel > num_channels:
        have = "1 channel" if num_channels == 1 else f"{num_channels} channels"
        raise ConfigError(f"{name}: has {have}, so no channel {channel}; use 1 to {num_channels}, or 'mix' for all")
    weights = np.zeros(num_channels)
    weights[channel - 1] = 1.0
    return weights


def mix_note(name: str, weights: NDArray[np.float64]) -> str:
    """The mix that is used instead of the average, in a line."""
    numbers = [str(index + 1) for index in np.flatnonzero(weights)]
    if len(numbers) == 1:
        mix = f"channel {numbers[0]} alone is"
    elif weights.min() < 0:
        mix = f"the difference of channels {' and '.join(numbers)} is"
    elif np.ptp(weights[weights > 0]) > 0:
        mix = f"channel {int(weights.argmax()) + 1} at twice the level of the other is"
    else:
        mix = f"only channels {', '.join(numbers)} are"
    return f"{name}: the average of its {len(weights)} channels would lose or weaken words, so {mix} used"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelProbe:
    """A recording whose channels can be measured before it is read.

    Attributes:
        sample_rate_hz: As it was recorded.
        num_channels: K.
        name: For messages.
        open_blocks: Opens it anew: its samples, floating point [n, K] each.
        should_stop: Called between blocks.
    """

    sample_rate_hz: int
    num_channels: int
    name: str
    open_blocks: Callable[[], AbstractContextManager[Iterator[NDArray[np.floating]]]]
    should_stop: Callable[[], bool] = never

    def measure(self, indices: list[int], mixes: NDArray[np.float64]) -> ChannelLevels:
        """The levels of some channels and mixes of them, as far as the recording can be read."""
        levels = ChannelLevels(self.sample_rate_hz, mixes)
        whole = len(indices) == self.num_channels
        # Damage is reported when its place is read.
        with suppress(ConfigError), self.open_blocks() as blocks:
            for block in checked(blocks, self.name):
                ask(self.should_stop)
                levels.push(block if whole else block[:, indices])
        return levels
