"""Changes of the logits before a token is chosen: logit bias, and the penalties of tokens that were there before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephi.base.errors import ConfigError
from edgephi.generation.options import Bias, SamplingOptions

Ids = NDArray[np.int64]


class Penalties:
    """Changes the logits of one reply's next token.

    Args:
        options: Their strengths.
        prompt_ids: int64 [S]. The repetition penalty is for these too.
    """

    def __init__(self, options: SamplingOptions, prompt_ids: Sequence[int] | NDArray[Any]) -> None:
        self._options = options
        self._repetition = options.rules().repetition_penalty
        self._bias_ids: Ids = np.array([token_id for token_id, _ in options.bias_pairs], np.int64)
        self._bias = np.array([bias for _, bias in options.bias_pairs], np.float32)
        self._seen: Ids = np.unique(np.asarray(prompt_ids, np.int64))
        self._generated: Ids = np.empty(0, np.int64)
        self._times = np.empty(0, np.float32)  # how often the reply has each of them

    @property
    def change_nothing(self) -> bool:
        """Whether `apply` would leave every logit as it is."""
        options = self._options
        penalties = (self._repetition - 1, options.presence_penalty, options.frequency_penalty)
        return not options.logit_bias and not any(penalties)

    def apply(self, logits: NDArray[np.float32]) -> None:
        """Add the bias, then the repetition penalty, then presence and frequency.

        Args:
            logits: float32 [V]. Changed in place.

        Raises:
            ConfigError: A bias is for a token that the vocabulary lacks.
        """
        options = self._options
        if len(self._bias_ids):
            check_bias(self._options.bias_pairs, len(logits))
            logits[self._bias_ids] += self._bias
        if self._repetition != 1:
            seen = logits[self._seen]
            logits[self._seen] = np.where(
                seen < 0, seen * np.float32(self._repetition), seen / np.float32(self._repetition)
            )
        if options.presence_penalty or options.frequency_penalty:
            logits[self._generated] -= np.float32(options.presence_penalty) + self._times * np.float32(
                options.frequency_penalty
            )

    def accept(self, token_id: int) -> None:
        """Remember a token of the reply."""
        if self.change_nothing:
            return
        at = int(np.searchsorted(self._generated, token_id))
        if at < len(self._generated) and self._generated[at] == token_id:
            self._times[at] += 1
            return
        self._generated = np.insert(self._generated, at, token_id)
        self._times = np.insert(self._times, at, 1)
        place = int(np.searchsorted(self._seen, token_id))
        if place == len(self._seen) or self._seen[place] != token_id:
            self._seen = np.insert(self._seen, place, token_id)


def check_bias(pairs: Bias, vocab_size: int) -> None:
    """Refuse a bias that no logit has a place for.

    Args:
        pairs: Token ids with their biases, by rising id.
        vocab_size: Length of the logits.

    Raises:
        ConfigError: A bias is for a token that the vocabulary lacks.
    """
    if pairs and pairs[-1][0] >= vocab_size:
        raise ConfigError(f"logit_bias names token {pairs[-1][0]} but the vocabulary ends at {vocab_size - 1}")
