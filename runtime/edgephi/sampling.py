"""Choosing the next token from logits.

Owns the sampling options and their arithmetic. Knows nothing about the decoder or about text.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgephi.checks import is_finite, is_whole
from edgephi.errors import ConfigError, EdgeError


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingOptions:
    """How a reply is chosen and when it is cut.

    Attributes:
        max_new_tokens: The reply is cut after this many tokens.
        temperature: 0 always takes the likeliest token; larger is more random.
        top_k: Only the k likeliest tokens can be drawn; 0 for all.
        top_p: Only the smallest set of likeliest tokens that holds this much probability can be drawn (Holtzman et
            al. 2019, arXiv 1904.09751); 1.0 for all.
        seed: Makes drawing reproducible; None draws afresh each time.
    """

    max_new_tokens: int = 512
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int | None = None

    def __post_init__(self) -> None:
        if not is_whole(self.max_new_tokens) or self.max_new_tokens < 1:
            raise ConfigError(f"max_new_tokens is {self.max_new_tokens!r}; use a whole number, 1 or more")
        if not is_finite(self.temperature) or self.temperature < 0:
            raise ConfigError(
                f"temperature is {self.temperature!r}; use 0 for the likeliest token, or a positive number"
            )
        if not is_whole(self.top_k) or self.top_k < 0:
            raise ConfigError(f"top_k is {self.top_k!r}; use 0 for all tokens, or a whole number")
        if not is_finite(self.top_p) or not 0 < self.top_p <= 1:
            raise ConfigError(f"top_p is {self.top_p!r}; use a number above 0, at most 1")
        if self.seed is not None and (not is_whole(self.seed) or self.seed < 0):
            raise ConfigError(f"seed is {self.seed!r}; use a whole number, 0 or more, or None")


class Sampler:
    """Draws the tokens of one reply."""

    def __init__(self, options: SamplingOptions) -> None:
        self._options = options
        self._random = np.random.default_rng(options.seed)

    def pick(self, logits: NDArray[np.float32]) -> int:
        """The next token id.

        Args:
            logits: float32 [V]. Not modified.

        Raises:
            EdgeError: A logit is not a number: the weights are broken.
        """
        best = int(np.argmax(logits))  # finds a NaN first, if there is one
        if not np.isfinite(logits[best]):
            raise EdgeError("the model's logits are not numbers, so its weights are broken; export the model again")
        if self._options.temperature == 0:
            return best
        ids, probabilities = candidates(logits, self._options)
        drawn = np.searchsorted(np.cumsum(probabilities), self._random.random(), side="right")
        return int(ids[min(int(drawn), len(ids) - 1)])


def candidates(logits: NDArray[np.float32], options: SamplingOptions) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """The tokens that can be drawn, likeliest first, with their probabilities: temperature, then top-k, then top-p.

    Args:
        logits: float32 [V]. Not modified.
        options: With a temperature above 0.

    Returns:
        ids [n] and float64 [n] that sum to 1. Equal logits keep the order of their ids.
    """
    keep = options.top_k if 0 < options.top_k < len(logits) else len(logits)
    if keep < len(logits):
        border = np.partition(logits, -keep)[-keep]
        ids = np.flatnonzero(logits >= border)
    else:
        ids = np.arange(len(logits))
    ids = ids[np.argsort(-logits[ids], kind="stable")][:keep]
    scaled = logits[ids].astype(np.float64)
    with np.errstate(over="ignore", under="ignore"):  # a tiny temperature leaves only the likeliest
        weights = np.exp((scaled - scaled[0]) / options.temperature)
    probabilities = weights / weights.sum()
    if options.top_p < 1:
        before = np.cumsum(probabilities) - probabilities
        num = int(np.count_nonzero(before < options.top_p))
        ids, probabilities = ids[:num], probabilities[:num] / probabilities[:num].sum()
    return ids, probabilities
