"""The generation loop: read, choose, tell, repeat.

Owns when a reply ends, what is reported on the way, and which logits belong to which token when guesses are checked
several at a time. Knows nothing about media, templates or sessions, nor where guesses come from.

Guessing changes no token: each is chosen from the logits after the tokens before it, in order and with the same random
number, and a guess only says which logits a pass computes beforehand. But ONNX Runtime's attention over float keys and
values adds up in another order for one row than for several. That moves a logit by 1e-4 at most in the nano model at
fp32, and by up to 0.4 where activations are rounded to eight bits, as one of them falls to another step: the same as
between reading a text at once and token by token. So tokens can differ where the two likeliest are that close. Which
guesses are checked follows from measured times, unless the options say True or False; for a seed, which promises the
same tokens each time, None therefore means False.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from edgephi.base.cancellation import Stopped, ask, never
from edgephi.base.log import logger
from edgephi.base.stage import Stages
from edgephi.bundle.manifest import Adapter
from edgephi.generation.constraint import Constraint
from edgephi.generation.output_text import ReplyText
from edgephi.generation.reply import (
    Choice,
    DoneEvent,
    Event,
    FinishReason,
    Reply,
    Speculation,
    TextEvent,
    Timing,
    TokenEvent,
)
from edgephi.generation.sampler import Sampler, SamplingOptions
from edgephi.generation.speculation import Speculator
from edgephi.prompt.input_sequence import InputSequence
from edgephi.prompt.tokenizer import Tokenizer

_log = logger(__name__)

try:
    import resource
except ModuleNotFoundError:  # not on every system
    resource = None  # type: ignore[assignment]


class Reader(Protocol):
    """What the loop needs of the decoder."""

    @property
    def used(self) -> int:
        """Positions of the sequence that were read."""

    def read(
        self,
        sequence: InputSequence,
        *,
        adapter: Adapter,
        rows: int | Literal["last"] = "last",
        should_stop: Callable[[], bool] = never,
    ) -> NDArray[np.float32]:
        """float32 [V] after the sequence's last position, or [R, V] after its last R; kept until the next `read`.

        Raises Stopped.
        """

    def rewind(self, length: int) -> None:
        """Forget the positions from `length` on."""

    def reach(self, total: int) -> int:
        """How long a sequence of `total` positions can become before it is read again or is full."""

    def has_room(self, total: int) -> bool:
        """Whether a sequence of this many positions can be read."""


@dataclass(slots=True, kw_only=True)
class Clock:
    """Stage times of one request while it runs, in seconds.

    Attributes:
        started_s: `time.perf_counter()` when the request was accepted.
        cached_tokens: See Timing.
        preprocess_s: See Timing.
        encode_s: See Timing.
        prefill_s: See Timing.
        first_token_s: `time.perf_counter()` when the first id was known; 0.0 before.
        decode_s: See Timing.
    """

    started_s: float = field(default_factory=time.perf_counter)
    cached_tokens: int = 0
    preprocess_s: float = 0.0
    encode_s: float = 0.0
    prefill_s: float = 0.0
    first_token_s: float = 0.0
    decode_s: float = 0.0

    def timing(self, prompt_tokens: int, new_tokens: int) -> Timing:
        """The finished request's record; `ttft_s` is 0.0 when no token was made."""
        return Timing(
            prompt_tokens=prompt_tokens,
            cached_tokens=min(self.cached_tokens, max(prompt_tokens - 1, 0)),  # the last one is always read
            new_tokens=new_tokens,
            preprocess_s=self.preprocess_s,
            encode_s=self.encode_s,
            prefill_s=self.prefill_s,
            ttft_s=self.first_token_s - self.started_s if new_tokens else 0.0,
            decode_s=self.decode_s,
            peak_rss_bytes=peak_rss_bytes(),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One request, ready for the decoder.

    Attributes:
        sequence: The prompt's rows; generated tokens are appended to it.
        adapter: For the whole request.
        options: How to choose, when to cut.
        eos: Ids that end the reply.
        clock: Already running.
        should_stop: Asked before each pass; True ends the reply as `cancelled`.
        constraint: What the reply must be, made for this request; None for anything.
        stages: Told how much of the sequence is read.
    """

    sequence: InputSequence
    adapter: Adapter
    options: SamplingOptions
    eos: frozenset[int]
    clock: Clock
    should_stop: Callable[[], bool] = never
    constraint: Constraint | None = None
    stages: Stages = field(default_factory=Stages)


def peak_rss_bytes() -> int:
    """Most memory this process has held so far; 0 where the system does not tell."""
    if resource is None:
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def generate(decoder: Reader, tokenizer: Tokenizer, job: Job) -> Generator[Event, None, None]:
    """Generate one reply. However it ends, the decoder then holds positions of what was said and no others.

    Yields:
        A TokenEvent per token, a TextEvent whenever characters are complete, a ToolCallEvent whenever calls are, at
        last one DoneEvent.

    Raises:
        CapacityError: The prompt is longer than the context.
        EdgeError: The model's logits are not numbers.
    """
    prompt_tokens = len(job.sequence)
    writer = ReplyText(tokenizer, job.options.stop)
    sampler = Sampler(job.options, prompt_ids=job.sequence.token_ids, constraint=job.constraint)
    steps = _Steps(decoder, job)
    choices: list[Choice] = []
    reason: FinishReason = "length"
    try:
        with closing(_choices(steps, sampler, job)) as chosen:
            for choice in chosen:
                choices.append(choice)
                yield TokenEvent(choice, len(choices) - 1)
                if choice.token_id in job.eos:
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
    timing = job.clock.timing(prompt_tokens, len(choices))
    facts = (timing.new_tokens, reason, timing.ttft_s, timing.decode_tok_s or 0.0)
    _log.info("reply of %d tokens, %s, first after %.2f s, then %.1f tokens/s", *facts)
    yield DoneEvent(
        Reply(
            text=writer.text,
            token_ids=tuple(choice.token_id for choice in choices),
            finish_reason=reason,
            tool_calls=writer.tool_calls,
            timing=timing,
            logprobs=() if job.options.logprobs is None else tuple(choices),
            speculation=steps.speculation,
            adapter=job.adapter,
        )
    )


def _choices(steps: _Steps, sampler: Sampler, job: Job) -> Generator[Choice, None, None]:
    """Choose one token after another until the reply is as long as it may be."""
    try:
        before = time.perf_counter()
        logits = steps.first()
        job.clock.prefill_s = time.perf_counter() - before
        choice = sampler.choose(logits)
        job.clock.first_token_s = time.perf_counter()
        for number in itertools.count(1):
            sampler.accept(choice.token_id)
            yield choice  # the caller's time until it comes back is not ours
            if number >= job.options.max_new_tokens or not steps.has_room:
                return
            before = time.perf_counter()
            choice = sampler.choose(steps.after(choice.token_id))
            job.clock.decode_s += time.perf_counter() - before
    finally:
        steps.discard_drafts()


class _Steps:
    """The logits after each token of a reply, from a pass of its own or from one that checked it as a guess."""

    def __init__(self, decoder: Reader, job: Job) -> None:
        self._decoder = decoder
        self._job = job
        self._sequence = job.sequence
        self._longest = len(job.sequence) + job.options.max_new_tokens - 1  # the last token is never read
        self._speculator: Speculator | None = None
        self._guesses: list[int] = []  # checked by the last pass, those already said left out
        self._rows: NDArray[np.float32]

    @property
    def speculation(self) -> Speculation:
        return Speculation() if self._speculator is None else self._speculator.record

    @property
    def has_room(self) -> bool:
        """Whether one more token can be read."""
        return self._decoder.has_room(len(self._sequence) + 1)

    def first(self) -> NDArray[np.float32]:
        """float32 [V] after the prompt."""
        logits = self._decoder.read(self._sequence, adapter=self._job.adapter, should_stop=self._reading())
        self._job.stages.tell("prefill", len(self._sequence), len(self._sequence))
        return logits

    def after(self, token_id: int) -> NDArray[np.float32]:
        """float32 [V] after one more token. Raises Stopped."""
        was_checked = bool(self._guesses) and self._guesses[0] == token_id
        self._known().accept(token_id, was_checked=was_checked)
        if not was_checked:
            self.discard_drafts()
        self._sequence.append(token_id)
        if not was_checked:
            return self._pass()
        ask(self._job.should_stop)
        del self._guesses[0]
        return self._row(len(self._rows) - 1 - len(self._guesses))

    def discard_drafts(self) -> None:
        """Forget what was read beyond what was said."""
        self._guesses = []
        if self._decoder.used > len(self._sequence):
            self._decoder.rewind(len(self._sequence))

    def _known(self) -> Speculator:
        """Made after the first token, which need not wait for it."""
        if self._speculator is None:
            self._speculator = Speculator(
                self._sequence.token_ids,
                spans=self._sequence.spans,
                mode=_mode(self._job.options),
                ends=self._job.eos,
            )
        return self._speculator

    def _pass(self) -> NDArray[np.float32]:
        """Read the last token, and guesses at what follows it."""
        sequence, speculator, total = self._sequence, self._known(), len(self._sequence)
        is_step = total <= self._decoder.reach(total - 1)  # otherwise the whole sequence is read again
        most = min(self._decoder.reach(total), self._longest) - total if is_step else 0
        guesses = speculator.propose(most)
        for guess in guesses:
            sequence.append(guess)
        before = time.perf_counter()
        try:
            rows = self._decoder.read(
                sequence,
                adapter=self._job.adapter,
                rows=1 + len(guesses) if guesses else "last",
                should_stop=self._job.should_stop if is_step else self._reading(),
            )
        finally:
            sequence.truncate(total)
        if is_step:
            speculator.note_pass(len(guesses), time.perf_counter() - before)
        self._guesses = guesses
        if not guesses:
            return rows
        self._rows = rows
        return self._row(0)

    def _reading(self) -> Callable[[], bool]:
        """The job's `should_stop`, which also tells how much of the sequence is read."""
        total = len(self._sequence)

        def asked() -> bool:
            self._job.stages.tell("prefill", self._decoder.used, total)
            return self._job.should_stop()

        return asked

    def _row(self, at: int) -> NDArray[np.float32]:
        row: NDArray[np.float32] = self._rows[at]
        return row


def _mode(options: SamplingOptions) -> bool | None:
    is_repeatable = options.seed is not None and options.rules().temperature > 0
    return False if options.speculation is None and is_repeatable else options.speculation
