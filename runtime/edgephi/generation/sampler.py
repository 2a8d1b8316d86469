"""Chooses the next token from logits: penalties, constraint, selection, a random draw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephi.base.errors import ConfigError, EdgeError
from edgephi.generation.constraint import Constraint
from edgephi.generation.logits_penalties import Penalties
from edgephi.generation.options import SamplingOptions
from edgephi.generation.reply import Choice
from edgephi.generation.token_selection import draw, log_probabilities

__all__ = ["Choice", "Sampler", "SamplingOptions"]

_BROKEN = "the model's logits are not numbers, so its weights are broken; export the model again"


class Sampler:
    """Chooses the tokens of one reply.

    The steps and their order are those of Hugging Face's `generate`, with the presence and frequency penalties of the
    OpenAI interface after the repetition penalty:

        logit bias -> repetition -> presence, frequency -> constraint -> temperature -> top-k -> top-p -> min-p -> draw

    At temperature 0 the largest logit after the constraint is taken. A seed fixes the random numbers on every machine
    (numpy's PCG64, one number per draw), so the same logits give the same tokens.

    Args:
        options: How to choose. What it leaves open has the values of DrawRules.
        prompt_ids: int64 [S]. What the repetition penalty counts besides the reply.
        constraint: What `options.constraint` asks for, made by a ConstraintCompiler for this reply.

    Raises:
        ConfigError: The options ask for a constraint and none was made.
    """

    def __init__(
        self,
        options: SamplingOptions,
        *,
        prompt_ids: Sequence[int] | NDArray[Any] = (),
        constraint: Constraint | None = None,
    ) -> None:
        if options.constraint is not None and constraint is None:
            raise ConfigError("options.constraint is set but no constraint was made; use ConstraintCompiler.start")
        self._options = options
        self._rules = options.rules()
        self._penalties = Penalties(options, prompt_ids)
        self._constraint = constraint
        self._random = np.random.Generator(np.random.PCG64(options.seed))
        self._scores = np.empty(0, np.float32)

    @property
    def is_done(self) -> bool:
        """Whether the constraint is met and allows nothing more."""
        return self._constraint is not None and self._constraint.is_done

    @property
    def needs_only_best(self) -> bool:
        """Whether the id of the largest logit is all that a choice depends on."""
        is_greedy = self._rules.temperature == 0 and self._options.logprobs is None
        return is_greedy and self._penalties.change_nothing and self._constraint is None

    def choose(self, logits: NDArray[np.float32] | np.int64) -> Choice:
        """The next token. It counts as generated only after `accept`.

        Log-probabilities are the model's own: of `logits`, before any of the steps above.

        Args:
            logits: float32 [V]. Not modified. Or, where `needs_only_best`, the id of the largest of them; -1 where
                one is not a number.

        Raises:
            EdgeError: A logit is not a number: the weights are broken. Or the constraint leaves no token.
            ConfigError: A bias is for a token that the vocabulary lacks.
        """
        if isinstance(logits, np.int64):
            if logits < 0:
                raise EdgeError(_BROKEN)
            return Choice(int(logits))
        best = int(np.argmax(logits))  # finds a NaN first, if there is one
        if not np.isfinite(logits[best]):
            raise EdgeError(_BROKEN)
        if not self._penalties.change_nothing or self._constraint is not None:
            scores = self._changed(logits)
            best = int(np.argmax(scores))
        else:
            scores = logits
        greedy = self._rules.temperature == 0
        token_id = best if greedy else draw(scores, self._rules, self._random.random())
        if self._options.logprobs is None:
            return Choice(token_id)
        return Choice(token_id, *log_probabilities(logits, token_id, self._options.logprobs))

    def accept(self, token_id: int) -> None:
        """The token became part of the reply.

        Raises:
            EdgeError: The constraint does not allow it.
        """
        self._penalties.accept(token_id)
        if self._constraint is not None:
            self._constraint.accept(token_id)

    def _changed(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """The logits after bias, penalties and constraint, in a buffer that the next step reuses."""
        if len(self._scores) != len(logits):
            self._scores = np.empty(len(logits), np.float32)
        np.copyto(self._scores, logits)
        self._penalties.apply(self._scores)
        if self._constraint is not None:
            self._constraint.mask(self._scores)
            if not np.isfinite(self._scores.max()):
                raise EdgeError("the model gives no token that the constraint allows any chance; change the constraint")
        return self._scores
