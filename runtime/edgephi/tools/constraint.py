"""A reply held to tool calls: from its first token, or from where the model opens a call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgephi.base.errors import ConfigError
from edgephi.generation.constraint import Constraint, ConstraintCompiler, ConstraintSpec, Grammar
from edgephi.prompt.template_view import TOOL_CALL, TOOL_CALL_END
from edgephi.prompt.tokenizer import Tokenizer
from edgephi.tools.call_grammar import call_grammar
from edgephi.tools.choice import ToolUse


@dataclass(frozen=True, slots=True)
class CallMarkers:
    """Ids of the tokens around a call."""

    opening: int
    closing: int


class ToolConstraint:
    """A state of one reply; see `constraint.Constraint`.

    Args:
        mode: See ToolUse.
        markers: The model's.
        begin_call: Makes the constraint of what follows the opening marker.
        words: What a reply without calls must be; None for anything.
    """

    def __init__(
        self,
        mode: Literal["auto", "none", "required"],
        markers: CallMarkers,
        begin_call: Callable[[], Constraint],
        words: Constraint | None,
    ) -> None:
        self._mode = mode
        self._markers = markers
        self._begin_call = begin_call
        self._words = words
        self._call: Constraint | None = None
        self._is_begun = False
        self._has_called = False

    @property
    def is_done(self) -> bool:
        """Whether nothing but the reply's end may follow."""
        if self._call is not None:
            return False
        if self._has_called:  # constrained words cannot follow a call: they are the whole reply
            return self._mode == "required" or self._words is not None
        return self._words is not None and self._words.is_done

    def mask(self, logits: NDArray[np.float32]) -> None:
        """Set the logits, float32 [V], of tokens that may not come next to -infinity. Raises EdgeError if none may."""
        if self._call is not None:
            self._call.mask(logits)
        elif self._mode == "required":
            self._only(self._markers.opening, logits)
        else:
            self._mask_words(logits)

    def accept(self, token_id: int) -> None:
        """The token became part of the reply. Raises EdgeError if it may not."""
        if self._call is not None:
            self._call.accept(token_id)
            if token_id == self._markers.closing:
                self._call, self._has_called = None, True
        elif token_id == self._markers.opening:
            self._call = self._begin_call()
        elif self._words is not None:
            self._words.accept(token_id)
        self._is_begun = True

    def _mask_words(self, logits: NDArray[np.float32]) -> None:
        opening = logits[self._markers.opening]
        if self._words is not None:
            self._words.mask(logits)
        can_call = self._mode == "auto" and (self._words is None or not self._is_begun)
        logits[self._markers.opening] = opening if can_call else -np.inf
        logits[self._markers.closing] = -np.inf

    @staticmethod
    def _only(token_id: int, logits: NDArray[np.float32]) -> None:
        kept = logits[token_id]
        logits.fill(-np.inf)
        logits[token_id] = kept


def start_constraint(
    compiler: ConstraintCompiler, tokenizer: Tokenizer, use: ToolUse, spec: ConstraintSpec | None
) -> Constraint | None:
    """The constraint of a new reply; None for anything.

    Raises:
        ConfigError: The constraint or a tool's schema cannot be used, both are asked of the whole reply, or the model
            has no tokens for calls.
        EdgeError: llguidance is not installed.
    """
    if use.mode is None:
        return None if spec is None else compiler.start(spec)
    found = [tokenizer.control.get(name) for name in (TOOL_CALL, TOOL_CALL_END)]
    opening, closing = found
    if opening is None or closing is None:
        if use.mode == "none":
            return None if spec is None else compiler.start(spec)
        raise ConfigError(f"this model has no {TOOL_CALL} token, so its calls cannot be held to the tools")
    if use.mode == "required" and spec is not None:
        raise ConfigError(f"a reply that must be a call cannot be held to {spec} too; give one of them")
    grammar = None if use.mode == "none" else Grammar(call_grammar(use.functions))
    if grammar is not None:
        compiler.start(grammar)  # a mistake in a tool's schema is reported before the first token

    def begin_call() -> Constraint:
        if grammar is None:
            raise ConfigError("no call can be begun where no tool is offered")
        return compiler.start(grammar)

    words = None if spec is None else compiler.start(spec)
    return ToolConstraint(use.mode, CallMarkers(opening.id, closing.id), begin_call, words)
