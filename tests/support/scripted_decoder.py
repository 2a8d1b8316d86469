"""Decoders that say given tokens, and the loop run with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from edgephi.base.cancellation import Stopped
from edgephi.bundle.manifest import RopeInfo
from edgephi.cache.context_limit import ContextLimit
from edgephi.cache.kv_cache import CacheShape
from edgephi.generation.constraint import ConstraintCompiler
from edgephi.generation.control import RequestControl
from edgephi.generation.loop import GenerationTask, generate
from edgephi.generation.reply import DoneEvent, Event, Reply
from edgephi.generation.sampler import SamplingOptions
from edgephi.prompt.input_sequence import InputSequence
from edgephi.prompt.tokenizer import Tokenizer
from support.tables import ArrayTable
from support.vocabulary import build_tokenizer, special_id

VOCAB = 400
_ROPE = RopeInfo(
    rotary_dim=2, theta=1e4, original_max_positions=1, max_positions=1, short_factor=(1.0,), long_factor=(1.0,),
    attention_scale=1.0,
)  # fmt: skip
_SHAPE = CacheShape(num_layers=1, num_kv_heads=1, head_size=2, max_positions=1, model_positions=1, dtype="float32")
END, CALL, CALL_END = special_id("<|end|>"), special_id("<|tool_call|>"), special_id("<|/tool_call|>")


class Script:
    """A decoder that says given ids, and checks that it is fed what it said.

    Logits after a wrong guess are not numbers, so using one fails.
    """

    finds_best = False

    def __init__(self, token_ids: Sequence[int], room: int = 10_000, boundary: int = 10_000) -> None:
        self._token_ids = list(token_ids)
        self._room = room
        self._boundary = boundary
        self._prompt: int | None = None
        self.held: list[int] = []
        self.widths: list[int] = []
        self.longest = 0

    @property
    def num_cached(self) -> int:
        return len(self.held)

    @property
    def limit(self) -> ContextLimit:
        rope = replace(_ROPE, original_max_positions=self._boundary, max_positions=max(self._room, self._boundary))
        shape = replace(_SHAPE, max_positions=self._room, model_positions=self._room)
        return ContextLimit(shape, rope)

    def truncate(self, length: int) -> None:
        assert length <= len(self.held)
        del self.held[length:]

    def forward(
        self,
        sequence: InputSequence,
        *,
        adapter: str,
        rows: int = 1,
        should_stop: Callable[[], bool] | None = None,
    ) -> np.ndarray:
        if should_stop is not None and should_stop():
            raise Stopped
        assert adapter == "none"
        assert len(sequence) <= self._room
        ids = sequence.token_ids.tolist()
        self._prompt = len(ids) if self._prompt is None else self._prompt
        if len(ids) - rows + 1 == self._boundary + 1:
            self.held = []  # read again with other factors
            assert rows == 1
        assert not self.held or len(self.held) == len(ids) - rows
        assert self.held == ids[: len(self.held)]
        assert len(ids) <= self.limit.reach(len(ids) - rows + 1)
        self.held = ids
        self.longest = max(self.longest, len(ids))
        self.widths.append(rows)
        said = ids[self._prompt :]
        assert said[: len(said) - rows + 1] == self._token_ids[: len(said) - rows + 1]
        return np.stack([self._after(said[: len(said) - back]) for back in reversed(range(rows))])

    def _after(self, said: list[int]) -> np.ndarray:
        logits = np.zeros(VOCAB, np.float32)
        if said != self._token_ids[: len(said)]:
            return np.full(VOCAB, np.nan, np.float32)
        if len(said) < len(self._token_ids):
            logits[self._token_ids[len(said)]] = 1
        return logits


TOKENIZER = Tokenizer(build_tokenizer().to_str(), "tokenizer.json")


EOS = frozenset({END, special_id("<|endoftext|>")})
COMPILER = ConstraintCompiler(TOKENIZER, eos=sorted(EOS), vocab_size=VOCAB)


def run_loop(
    decoder: Script,
    limit: int = 1000,
    should_stop: Callable[[], bool] = lambda: False,
    predicted: Sequence[int] = (),
    **values: Any,
) -> list[Event]:
    sequence = InputSequence(ArrayTable(np.zeros((VOCAB, 4))), np.array([1, 2, 3]), {})
    options = SamplingOptions(max_new_tokens=limit, **values)
    constraint = None if options.constraint is None else COMPILER.start(options.constraint)
    task = GenerationTask(
        sequence=sequence, adapter="none", options=options, eos=EOS, control=RequestControl(should_stop=should_stop),
        constraint=constraint, prediction=predicted,
    )  # fmt: skip
    return list(generate(decoder, TOKENIZER, task))  # type: ignore[arg-type]


def reply_of(events: list[Event]) -> Reply:
    assert isinstance(events[-1], DoneEvent)
    assert not any(isinstance(event, DoneEvent) for event in events[:-1])
    return events[-1].reply


class Loop(Script):
    """A decoder that always says the same, whatever is made of it."""

    def __init__(self, token_id: int) -> None:
        super().__init__([token_id])

    def forward(
        self,
        sequence: InputSequence,
        *,
        adapter: str,
        rows: int = 1,
        should_stop: Callable[[], bool] | None = None,
    ) -> np.ndarray:
        self.held = sequence.token_ids.tolist()
        self.widths.append(rows)
        return np.tile((np.arange(VOCAB) == self._token_ids[0]).astype(np.float32), (rows, 1))
