"""The generation loop: forward pass, choice of a token, event, and again.

It decides when a reply ends, what is reported on the way, and which logits belong to which token when draft tokens are
verified several in one pass.

Speculation changes no token: each is chosen from the logits after the tokens before it, in order and with the same
random number, and a draft token only selects which logits a pass computes beforehand. But ONNX Runtime's attention over
float keys and values adds up in another order for one row than for several. That moves a logit by 1e-4 at most in the
nano model at fp32, and by up to 0.4 where activations are rounded to eight bits, as one of them falls to another step:
the same difference as between prefilling a text and decoding it token by token. So tokens can differ where the two
likeliest are that close. Which draft tokens are verified follows from measured times, unless the options state True or
False; for a seed, which promises the same tokens each time, None therefore means False.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgephi.base.cancellation import Stopped, ask, never
from edgephi.base.log import logger
from edgephi.bundle.manifest import Adapter
from edgephi.cache.context_limit import ContextLimit
from edgephi.generation.constraint import Constraint
from edgephi.generation.control import RequestControl
from edgephi.generation.output_text import ReplyText
from edgephi.generation.reply import (
    Choice,
    DoneEvent,
    Event,
    FinishReason,
    Reply,
    Speculation,
    TextEvent,
    TokenEvent,
)
from edgephi.generation.sampler import Sampler, SamplingOptions
from edgephi.generation.speculation import Speculator
from edgephi.prompt.input_sequence import InputSequence
from edgephi.prompt.tokenizer import Tokenizer

_log = logger(__name__)


class ForwardModel(Protocol):
    """The decoder, as far as the loop needs it."""

    @property
    def limit(self) -> ContextLimit:
        """How long a sequence may become."""

    @property
    def num_cached(self) -> int:
        """Positions of the sequence whose keys and values are in the cache."""

    def forward(
        self,
        sequence: InputSequence,
        *,
        adapter: Adapter,
        rows: int = 1,
        should_stop: Callable[[], bool] = never,
    ) -> NDArray[np.float32]:
        """float32 [R, V] after the sequence's last R positions; valid until the next pass.

        Raises Stopped.
        """

    @property
    def finds_best(self) -> bool:
        """Whether `best_ids` serves."""

    def best_ids(
        self, sequence: InputSequence, *, adapter: Adapter, rows: int = 1, should_stop: Callable[[], bool] = never
    ) -> NDArray[np.int64]:
        """int64 [R]: the likeliest tokens after the last R positions, -1 where logits are not numbers.

        Raises Stopped.
        """

    def truncate(self, length: int) -> None:
        """Drop the keys and values of the positions from `length` on."""


#: What a token is chosen from: the logits float32 [V], or where no more is needed the id of the largest.
Row = NDArray[np.float32] | np.int64


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationTask:
    """One request, ready for the decoder.

    Attributes:
        sequence: The prompt's rows; generated tokens are appended to it.
        adapter: For the whole request.
        options: How to choose, when to cut.
        eos: Ids that end the reply.
        constraint: What the reply must be, made for this request; None for anything.
        prediction: Tokens that the reply will probably have, from its first on.
        control: `should_stop` is called before each pass, and True ends the reply as `cancelled`.
    """

    sequence: InputSequence
    adapter: Adapter
    options: SamplingOptions
    eos: frozenset[int]
    constraint: Constraint | None = None
    prediction: Sequence[int] = ()
    control: RequestControl = field(default_factory=RequestControl)


def generate(decoder: ForwardModel, tokenizer: Tokenizer, task: GenerationTask) -> Generator[Event, None, None]:
    """Generate one reply. However it ends, the cache then holds positions of the prompt and the reply only.

    Yields:
        A TokenEvent per token, a TextEvent whenever characters are complete, a ToolCallEvent whenever calls are, at
        last one DoneEvent.

    Raises:
        CapacityError: The prompt is longer than the context.
        EdgeError: The model's logits are not numbers.
    """
    prompt_tokens = len(task.sequence)
    writer = ReplyText(tokenizer, task.options.stop)
    sampler = Sampler(task.options, prompt_ids=task.sequence.token_ids, constraint=task.constraint)
    steps = _Steps(decoder, task, best_only=sampler.needs_only_best and decoder.finds_best)
    choices: list[Choice] = []
    reason: FinishReason = "length"
    try:
        with closing(_choices(steps, sampler, task)) as chosen:
            for choice in chosen:
                choices.append(choice)
                yield TokenEvent(choice, len(choices) - 1)
                if choice.token_id in task.eos:
                    reason = "stop"
                    break
                if text := writer.push(choice.token_id):
                    yield TextEvent(text)
                yield from writer.take_calls()
                if writer.is_stopped or sampler.is_done:
                    reason = "stop"
                    break
    except Stopped:
        reason = "cancelled"
    if text := writer.finish():
        yield TextEvent(text)
    yield from writer.take_calls()
    if writer.is_stopped and reason == "length":  # what was held back completed a stop string
        reason = "stop"
    timing = task.control.timer.timing(prompt_tokens, len(choices))
    facts = (timing.new_tokens, reason, timing.ttft_s, timing.decode_tok_s or 0.0)
    _log.info("reply of %d tokens, %s, first after %.2f s, then %.1f tokens/s", *facts)
    yield DoneEvent(
        Reply(
            text=writer.text,
            token_ids=tuple(choice.token_id for choice in choices),
            finish_reason=reason,
            tool_calls=writer.tool_calls,
            timing=timing,
            logprobs=() if task.options.logprobs is None else tuple(choices),
            speculation=steps.speculation,
            adapter=task.adapter,
        )
    )


def _choices(steps: _Steps, sampler: Sampler, task: GenerationTask) -> Generator[Choice, None, None]:
    """Choose one token after another until the reply is as long as it may be."""
    timer, most = task.control.timer, task.options.max_new_tokens
    try:
        with timer.measure("prefill"):
            logits = steps.first()
        choice = sampler.choose(logits)
        timer.first_token_s = time.perf_counter()
        for number in itertools.count(1):
            sampler.accept(choice.token_id)
            task.control.stages.report("decode", number, most)
            yield choice  # the caller's time until it comes back is not ours
            if number >= most or not steps.has_room:
                return
            with timer.measure("decode"):
                choice = sampler.choose(steps.after(choice.token_id))
    finally:
        steps.discard_drafts()


class _Steps:
    """The logits after each token of a reply, from a pass of its own or from one that verified it as a draft token.

    With `best_only`, the ids of the largest in their place.
    """

    def __init__(self, decoder: ForwardModel, task: GenerationTask, *, best_only: bool) -> None:
        self._decoder, self._best_only = decoder, best_only
        self._task = task
        self._sequence = task.sequence
        self._longest = len(task.sequence) + task.options.max_new_tokens - 1  # the last token needs no pass
        self._speculator: Speculator | None = None
        self._drafts: list[int] = []  # verified by the last pass, accepted ones left out
        self._rows: NDArray[np.float32] | NDArray[np.int64]

    @property
    def speculation(self) -> Speculation:
        return Speculation() if self._speculator is None else self._speculator.record

    @property
    def has_room(self) -> bool:
        """Whether the context has room for one more token."""
        return self._decoder.limit.has_room(len(self._sequence) + 1)

    def first(self) -> Row:
        """After the prompt."""
        self._rows = self._compute(1, self._prefilling())
        self._task.control.stages.report("prefill", len(self._sequence), len(self._sequence))
        return self._row(0)

    def after(self, token_id: int) -> Row:
        """After one more token. Raises Stopped."""
        was_draft = bool(self._drafts) and self._drafts[0] == token_id
        self._drafter().accept(token_id, was_draft=was_draft)
        if not was_draft:
            self.discard_drafts()
        self._sequence.append(token_id)
        if not was_draft:
            return self._forward()
        ask(self._task.control.should_stop)
        del self._drafts[0]
        return self._row(len(self._rows) - 1 - len(self._drafts))

    def discard_drafts(self) -> None:
        """Truncate the cache to what is part of the reply."""
        self._drafts = []
        if self._decoder.num_cached > len(self._sequence):
            self._decoder.truncate(len(self._sequence))

    def _drafter(self) -> Speculator:
        """Made after the first token, which need not wait for it."""
        if self._speculator is None:
            self._speculator = Speculator(
                self._sequence.token_ids,
                spans=self._sequence.spans,
                mode=_mode(self._task.options),
                ends=self._task.eos,
                prediction=self._task.prediction,
            )
        return self._speculator

    def _compute(self, num_rows: int, should_stop: Callable[[], bool]) -> NDArray[np.float32] | NDArray[np.int64]:
        """A pass; the last rows [R, V], or the ids [R]."""
        compute = self._decoder.best_ids if self._best_only else self._decoder.forward
        return compute(self._sequence, adapter=self._task.adapter, rows=num_rows, should_stop=should_stop)

    def _forward(self) -> Row:
        """A pass over the last token, and over draft tokens after it."""
        sequence, speculator, total = self._sequence, self._drafter(), len(self._sequence)
        is_step = total <= self._decoder.limit.reach(total - 1)  # otherwise the whole sequence is computed again
        most = min(self._decoder.limit.reach(total), self._longest) - total if is_step else 0
        drafts = speculator.draft(most)
        for token_id in drafts:
            sequence.append(token_id)
        before = time.perf_counter()
        try:
            should_stop = self._task.control.should_stop if is_step else self._prefilling()
            self._rows = self._compute(1 + len(drafts), should_stop)
        finally:
            sequence.truncate(total)
        if is_step:
            speculator.note_pass(len(drafts), time.perf_counter() - before)
        self._drafts = drafts
        return self._row(0)

    def _prefilling(self) -> Callable[[], bool]:
        """The task's `should_stop`, which also reports how much of the sequence is in the cache."""
        total, control = len(self._sequence), self._task.control

        def asked() -> bool:
            control.stages.report("prefill", self._decoder.num_cached, total)
            return control.should_stop()

        return asked

    def _row(self, at: int) -> Row:
        row: Row = self._rows[at]
        return row


def _mode(options: SamplingOptions) -> bool | None:
    is_repeatable = options.seed is not None and options.rules().temperature > 0
    return False if options.speculation is None and is_repeatable else options.speculation
