"""Which channels of a recording are heard."""

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

#: Also each channel for itself.
Channels = Channel | Literal["all"]


def check_channel(channel: Any, *, may_be_all: bool = False) -> None:
    """Raise ConfigError for what is neither `mix` (nor `all`, where that has a meaning) nor a number from 1."""
    names = (MIX, ALL) if may_be_all else (MIX,)
    if not (channel in names if isinstance(channel, str) else is_whole(channel) and channel >= 1):
        listed = ", ".join(map(repr, names))
        raise ConfigError(f"channel is {channel!r}; use {listed} or the number of a channel, from 1")


def channel_weights(channel: Channel, sound: ChannelProbe) -> NDArray[np.float64] | None:
    """What each channel is multiplied by in the sum, float64 [num_channels]; None for their average.

    For a mix of several channels the whole recording is read once.

    Raises:
        ConfigError: The recording has no such channel.
        Stopped: `sound.should_stop` said so.
    """
    check_channel(channel)
    if channel == MIX:
        return choose_mix(sound.measure, sound.num_channels) if sound.num_channels > 1 else None
    if channel > sound.num_channels:
        have = "1 channel" if sound.num_channels == 1 else f"{sound.num_channels} channels"
        raise ConfigError(
            f"{sound.name}: has {have}, so no channel {channel}; use 1 to {sound.num_channels}, or 'mix' for all"
        )
    weights = np.zeros(sound.num_channels)
    weights[channel - 1] = 1.0
    return weights


def mix_note(name: str, weights: NDArray[np.float64]) -> str:
    """What is heard instead of the average, in a line."""
    numbers = [str(index + 1) for index in np.flatnonzero(weights)]
    if len(numbers) == 1:
        heard = f"channel {numbers[0]} alone is"
    elif weights.min() < 0:
        heard = f"the difference of channels {' and '.join(numbers)} is"
    elif np.ptp(weights[weights > 0]) > 0:
        heard = f"channel {int(weights.argmax()) + 1} at twice the level of the other is"
    else:
        heard = f"only channels {', '.join(numbers)} are"
    return f"{name}: the average of its {len(weights)} channels would lose or weaken words, so {heard} heard"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelProbe:
    """A recording whose channels can be looked at before it is heard.

    Attributes:
        sample_rate_hz: As it was recorded.
        num_channels: K.
        name: For messages.
        open_blocks: Opens it anew: its samples, floating point [n, K] each.
        should_stop: Asked between blocks.
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
        # Damage is told of when its place is heard.
        with suppress(ConfigError), self.open_blocks() as blocks:
            for block in checked(blocks, self.name):
                ask(self.should_stop)
                levels.push(block if whole else block[:, indices])
        return levels
