"""The generation loop: read, choose, tell, repeat.

Owns when a reply ends and what is reported on the way. Knows nothing about media, templates or sessions.
"""

from __future__ import annotations

import itertools
import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgephi.embed import InputSequence
from edgephi.manifest import AdapterName
from edgephi.reply import (
    DoneEvent,
    Event,
    FinishReason,
    Reply,
    TextEvent,
    Timing,
    TokenEvent,
    ToolCall,
    parse_tool_calls,
)
from edgephi.sampling import Sampler, SamplingOptions
from edgephi.stopping import Stopped, never
from edgephi.tokenizer import TextStream, Tokenizer

TOOL_CALL = "<|tool_call|>"
TOOL_CALL_END = "<|/tool_call|>"


class Reader(Protocol):
    """What the loop needs of the decoder."""

    def read(
        self, sequence: InputSequence, *, adapter: AdapterName, should_stop: Callable[[], bool] = never
    ) -> NDArray[np.float32]:
        """float32 [V] after the sequence's last position. Raises Stopped."""

    def has_room(self, total: int) -> bool:
        """Whether a sequence of this many positions can be read."""


@dataclass(slots=True, kw_only=True)
class Clock:
    """Stage times of one request while it runs, in seconds.

    Attributes:
        started_s: `time.perf_counter()` when the request was accepted.
        preprocess_s: See Timing.
        encode_s: See Timing.
        prefill_s: See Timing.
        first_token_s: `time.perf_counter()` when the first id was known; 0.0 before.
        decode_s: See Timing.
    """

    started_s: float = field(default_factory=time.perf_counter)
    preprocess_s: float = 0.0
    encode_s: float = 0.0
    prefill_s: float = 0.0
    first_token_s: float = 0.0
    decode_s: float = 0.0

    def timing(self, prompt_tokens: int, new_tokens: int) -> Timing:
        """The finished request's record; `ttft_s` is 0.0 when no token was made."""
        return Timing(
            prompt_tokens=prompt_tokens,
            new_tokens=new_tokens,
            preprocess_s=self.preprocess_s,
            encode_s=self.encode_s,
            prefill_s=self.prefill_s,
            ttft_s=self.first_token_s - self.started_s if new_tokens else 0.0,
            decode_s=self.decode_s,
            peak_rss_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
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
    """

    sequence: InputSequence
    adapter: AdapterName
    options: SamplingOptions
    eos: frozenset[int]
    clock: Clock
    should_stop: Callable[[], bool] = never


def generate(decoder: Reader, tokenizer: Tokenizer, job: Job) -> Iterator[Event]:
    """Generate one reply.

    Yields:
        A TokenEvent per token, a TextEvent whenever characters are complete, at last one DoneEvent.

    Raises:
        CapacityError: The prompt is longer than the context.
        EdgeError: The model's logits are not numbers.
    """
    prompt_tokens = len(job.sequence)
    writer = _ReplyText(tokenizer)
    token_ids: list[int] = []
    reason: FinishReason = "length"
    try:
        for token_id in _token_ids(decoder, job):
            token_ids.append(token_id)
            yield TokenEvent(token_id, len(token_ids) - 1)
            if token_id in job.eos:
                reason = "stop"
                break
            if text := writer.push(token_id):
                yield TextEvent(text)
    except Stopped:
        reason = "cancelled"
    if text := writer.finish():
        yield TextEvent(text)
    yield DoneEvent(
        Reply(
            text=writer.text,
            token_ids=tuple(token_ids),
            finish_reason=reason,
            tool_calls=writer.tool_calls,
            timing=job.clock.timing(prompt_tokens, len(token_ids)),
        )
    )


def _token_ids(decoder: Reader, job: Job) -> Iterator[int]:
    """Choose one id after another until the reply is as long as it may be."""
    sampler = Sampler(job.options)
    before = time.perf_counter()
    logits = decoder.read(job.sequence, adapter=job.adapter, should_stop=job.should_stop)
    job.clock.prefill_s = time.perf_counter() - before
    token_id = sampler.pick(logits)
    job.clock.first_token_s = time.perf_counter()
    for number in itertools.count(1):
        yield token_id  # the caller's time until it comes back is not ours
        if number >= job.options.max_new_tokens or not decoder.has_room(len(job.sequence) + 1):
            return
        before = time.perf_counter()
        job.sequence.append(token_id)
        logits = decoder.read(job.sequence, adapter=job.adapter, should_stop=job.should_stop)
        token_id = sampler.pick(logits)
        job.clock.decode_s += time.perf_counter() - before


class _ReplyText:
    """The reply's text so far, and which part of it lies between tool-call markers."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._stream = TextStream(tokenizer)
        self._tokenizer = tokenizer
        self._open, self._close = (tokenizer.control.get(name) for name in (TOOL_CALL, TOOL_CALL_END))
        self._pieces: list[str] = []
        self._call_ids: list[int] | None = None
        self._calls: list[ToolCall] = []

    @property
    def text(self) -> str:
        return "".join(self._pieces)

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        return tuple(self._calls)

    def push(self, token_id: int) -> str:
        if self._open is not None and token_id == self._open.id:
            self._end_call()
            self._call_ids = []
        elif self._close is not None and token_id == self._close.id:
            self._end_call()
        elif self._call_ids is not None:
            self._call_ids.append(token_id)
        return self._keep(self._stream.push(token_id))

    def finish(self) -> str:
        self._end_call()
        return self._keep(self._stream.finish())

    def _keep(self, text: str) -> str:
        if text:
            self._pieces.append(text)
        return text

    def _end_call(self) -> None:
        if self._call_ids is not None:
            self._calls += parse_tool_calls(self._tokenizer.decode(self._call_ids))
            self._call_ids = None
