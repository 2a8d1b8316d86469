"""Which mix of a recording's channels loses nothing that one of them holds.

The average is kept unless words are lost in it: where channels cancel each other (one is inverted, or late), or where
it is drowned by a channel of noise. Lost are cells, a band at a moment: those where a channel stands out of its own
noise, and the mix does not hold what the channels have there. The average gives way only to what loses far less, and
no moment that the average keeps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgephi.audio.channel_levels import STEPS_PER_DB, ChannelLevels

_FLOOR_SHARE = 0.15  # of all moments are quieter than a channel's noise is taken to be
_STANDS_OUT = 10 * STEPS_PER_DB
_AUDIBLE = 3 * STEPS_PER_DB  # over the noise
_CANCELLED = 5 * STEPS_PER_DB  # below what unrelated channels add up to
_MISSING = 10 * STEPS_PER_DB  # below the channel that has it
_STEADY = 20 * STEPS_PER_DB
_LEAST_BANDS = 2  # that stand out at a moment
_LEAST_MOMENTS = 3  # fewer are clicks
_MOST_LOST = 0.1
_BETTER = 0.5
_AS_GOOD = 0.03
_LOST_MOMENTS, _LOST_MOMENTS_SHARE = 2, 0.25
#: A word is lost where so many moments are within about a second, however long the rest of the recording is.
_LOST_WORD, _WORD_MOMENTS = 6, 16

#: Measures the channels of these indices and mixes of them: (indices, float64 [M, K]) -> levels.
Measure = Callable[[list[int], NDArray[np.float64]], ChannelLevels]


def choose_mix(measure: Measure, num_channels: int) -> NDArray[np.float64] | None:
    """Weights float64 [num_channels] of a recording's mix; None for the average of all."""
    indices = list(range(num_channels))
    found = _look_at(measure, indices)
    if found is None:
        return None
    used = [index for index in indices if found.is_used[index]]
    if 0 < len(used) < num_channels:  # the others hold nothing but noise
        indices = used
        found = (_look_at(measure, indices) if len(indices) > 1 else None) or found
    chosen = np.ones(1) if len(indices) == 1 else found.best()
    if len(indices) == num_channels and chosen is found.candidates[0]:
        return None
    weights = np.zeros(num_channels)
    weights[indices] = chosen
    return weights


@dataclass(frozen=True, slots=True)
class _Findings:
    """The measured losses of each candidate.

    Attributes:
        candidates: Weights of each, float64 [K]: the average, further mixes, the single channels.
        lost: Share of the cells that each loses.
        lost_moments: How often each loses half of what stands out at a moment.
        most_at_once: The most of these within a second.
        over_noise: How far the cells are over each candidate's noise, on average.
        is_used: Whether each channel holds more than noise.
    """

    candidates: list[NDArray[np.float64]]
    lost: NDArray[np.float64]
    lost_moments: NDArray[np.int64]
    most_at_once: NDArray[np.int64]
    over_noise: NDArray[np.float64]
    is_used: NDArray[np.bool_]

    def best(self) -> NDArray[np.float64]:
        """The average, or what loses far less."""
        most_moments = max(_LOST_MOMENTS, _LOST_MOMENTS_SHARE * self.lost_moments[0])
        fit = (self.lost <= _BETTER * self.lost[0]) & (self.lost_moments <= most_moments)
        is_word_lost = self.lost[0] >= _MOST_LOST or self.most_at_once[0] >= _LOST_WORD
        if not is_word_lost or not fit.any():
            return self.candidates[0]
        plain = fit & np.array([len(set(np.abs(weights[weights != 0]))) == 1 for weights in self.candidates])
        fit = plain if plain.any() else fit  # an unequal mix is louder on one side, so it comes last
        good = np.flatnonzero(fit & (self.lost <= self.lost[fit].min() + _AS_GOOD))
        return self.candidates[int(good[np.argmax(self.over_noise[good])])]


def _mixes(num_channels: int) -> NDArray[np.float64]:
    """The average first. For two channels also their difference, and unequal mixes, which never cancel."""
    average = np.full((1, num_channels), 1 / num_channels)
    if num_channels != 2:
        return average
    return np.concatenate([average, [[0.5, -0.5], [2 / 3, 1 / 3], [1 / 3, 2 / 3]]])


def _look_at(measure: Measure, indices: list[int]) -> _Findings | None:
    """The losses of the channels and their mixes; None without any samples."""
    mixes = _mixes(len(indices))
    candidates = [*mixes, *np.eye(len(indices))]
    levels = measure(indices, mixes)
    if levels.is_empty:
        return None
    tallies = [_tally(band, candidates, is_steady=False) for band in levels.bands()]
    used = np.sum([tally.stands_out for tally in tallies], axis=0) >= _LEAST_BANDS
    is_used = np.sum(used, axis=0) >= _LEAST_MOMENTS
    if not is_used.any():  # a tone, or a recording too short for pauses
        tallies = [_tally(band, candidates, is_steady=True) for band in levels.bands()]
    num_bands = np.sum([tally.is_cell for tally in tallies], axis=0)
    lost_bands = np.sum([tally.is_lost for tally in tallies], axis=0)
    cells = max(1, int(num_bands.sum()))
    is_moment_lost = 2 * lost_bands >= np.maximum(num_bands, _LEAST_BANDS)[:, None]
    return _Findings(
        candidates=candidates,
        lost=lost_bands.sum(axis=0) / cells,
        lost_moments=is_moment_lost.sum(axis=0),
        most_at_once=_most_at_once(is_moment_lost),
        over_noise=np.sum([tally.over_noise for tally in tallies], axis=0) / cells,
        is_used=is_used,
    )


def _most_at_once(is_lost: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Of moments that are lost, bool [T, C], the most in any stretch of _WORD_MOMENTS: int64 [C]."""
    counts = np.pad(np.cumsum(is_lost, axis=0, dtype=np.int64), ((1, 0), (0, 0)))
    stretch = min(_WORD_MOMENTS, len(is_lost))
    most: NDArray[np.int64] = (counts[stretch:] - counts[:-stretch]).max(axis=0)
    return most


@dataclass(frozen=True, slots=True)
class _Tally:
    """The findings in one band: T moments, K channels, C candidates.

    Attributes:
        stands_out: int8 [T, K], 1 where a channel stands out of its noise.
        is_cell: bool [T], where any does.
        is_lost: bool [T, C], what a candidate does not hold of that.
        over_noise: float64 [C], how far the cells are over the candidate's noise, in all.
    """

    stands_out: NDArray[np.int8]
    is_cell: NDArray[np.bool_]
    is_lost: NDArray[np.bool_]
    over_noise: NDArray[np.float64]


def _tally(levels: NDArray[np.uint8], candidates: list[NDArray[np.float64]], *, is_steady: bool) -> _Tally:
    """Levels uint8 [T, K + M] of one band, the channels first; a steady tone is no noise."""
    num_channels = len(candidates[0])
    order = [*range(num_channels, levels.shape[1]), *range(num_channels)]
    channels = levels[:, :num_channels]
    if is_steady:
        floors = np.zeros(num_channels, np.int16)
        stands_out = np.greater_equal(channels, max(1, int(channels.max(initial=0)) - _STEADY))
    else:
        floors = np.percentile(channels, 100 * _FLOOR_SHARE, axis=0, method="lower").astype(np.int16)
        stands_out = np.greater_equal(channels, np.maximum(floors + _STANDS_OUT, 1))
    is_cell: NDArray[np.bool_] = np.any(stands_out, axis=1)
    cells = levels[is_cell][:, order].astype(np.int16)
    noise = np.array([_steps(np.square(weights) @ _powers(floors)) for weights in candidates])
    is_lost = np.zeros((len(levels), len(candidates)), np.bool_)
    is_lost[is_cell] = _lost(cells, num_channels) | (cells < noise + _AUDIBLE)
    return _Tally(stands_out.astype(np.int8), is_cell, is_lost, (cells - noise).sum(axis=0))


def _lost(cells: NDArray[np.int16], num_channels: int) -> NDArray[np.bool_]:
    """Where each of C candidates, the channels last, has far less than the channels have: cells [n, C] -> [n, C]."""
    channels, mixes = cells[:, -num_channels:], cells[:, :-num_channels]
    expected = _steps(_powers(channels).sum(axis=1, keepdims=True) / num_channels**2)
    loudest = channels.max(axis=1, keepdims=True, initial=0)
    return np.concatenate([mixes < expected - _CANCELLED, channels < loudest - _MISSING], axis=1)


def _powers(steps: NDArray[np.int16]) -> NDArray[np.float64]:
    return np.power(10.0, steps / (10 * STEPS_PER_DB))


def _steps(powers: NDArray[np.float64]) -> NDArray[np.float64]:
    steps: NDArray[np.float64] = 10 * STEPS_PER_DB * np.log10(powers)
    return steps
