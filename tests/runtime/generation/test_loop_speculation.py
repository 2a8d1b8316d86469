"""Speculation saves passes of the decoder, and changes no event."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgephi.generation.constraint import Grammar, Regex
from edgephi.generation.control import RequestControl
from edgephi.generation.loop import GenerationTask, generate
from edgephi.generation.reply import DoneEvent, Event, Reply, Speculation, TokenEvent
from edgephi.generation.sampler import SamplingOptions
from edgephi.prompt.input_sequence import InputSequence
from support.scripted_decoder import (
    END,
    EOS,
    TOKENIZER,
    VOCAB,
    Loop,
    Script,
    reply_of,
    run_loop,
)
from support.tables import ArrayTable

REPETITIVE = [*TOKENIZER.encode_text("turn the lamp on, 🙂 turn the lamp off, 🙂 " * 4), END]
MODES = pytest.mark.parametrize("mode", [True, None])


def _same(one: Reply, two: Reply) -> None:
    for name in ("text", "token_ids", "finish_reason", "tool_calls", "logprobs"):
        assert getattr(one, name) == getattr(two, name)


def _holds_what_was_said(decoder: Script, reply: Reply) -> bool:
    """The last token is never read; a cancelled step may have been."""
    everything = [1, 2, 3, *reply.token_ids]
    return decoder.held in (everything, everything[:-1])


@MODES
def test_guessing_changes_no_event(mode: bool | None):
    plain, drafted = (Script(REPETITIVE), Script(REPETITIVE))
    expected = run_loop(plain, speculation=False, logprobs=2)
    actual = run_loop(drafted, speculation=mode, logprobs=2)
    assert actual[:-1] == expected[:-1]
    _same(reply_of(actual), reply_of(expected))
    assert drafted.held == plain.held == [1, 2, 3, *REPETITIVE[:-1]]
    assert set(plain.widths) == {1}
    assert reply_of(expected).speculation == Speculation()


def test_right_drafts_save_passes_and_the_reply_says_so():
    decoder = Script(REPETITIVE)
    made = reply_of(run_loop(decoder, speculation=True)).speculation
    assert len(decoder.widths) + made.accepted == len(REPETITIVE)
    assert made.passes == sum(width > 1 for width in decoder.widths)
    assert made.drafted == sum(width - 1 for width in decoder.widths)
    assert made.accepted > len(REPETITIVE) / 2


def test_wrong_drafts_are_dropped():
    """Two words that begin alike: half of the guesses are wrong."""
    ids = TOKENIZER.encode_text("lamp on lamp off lamp on lamp on lamp off lamp off " * 4)
    decoder = Script([*ids, END])
    reply = reply_of(run_loop(decoder, speculation=True))
    assert list(reply.token_ids) == [*ids, END]
    assert 0 < reply.speculation.accepted < reply.speculation.drafted


@MODES
@pytest.mark.parametrize("limit", range(1, len(REPETITIVE) + 2, 3))
def test_the_limit_counts_drafted_tokens_and_reads_no_more(mode: bool | None, limit: int):
    decoder = Script(REPETITIVE)
    reply = reply_of(run_loop(decoder, limit=limit, speculation=mode))
    assert list(reply.token_ids) == REPETITIVE[:limit]
    assert _holds_what_was_said(decoder, reply)
    assert decoder.longest <= 3 + limit - 1


@MODES
@pytest.mark.parametrize("room", range(4, 80, 5))
def test_a_full_context_ends_a_drafted_reply_where_it_ends_a_plain_one(mode: bool | None, room: int):
    decoder = Script(REPETITIVE, room=room)
    reply = reply_of(run_loop(decoder, speculation=mode))
    _same(reply, reply_of(run_loop(Script(REPETITIVE, room=room), speculation=False)))
    assert len(reply.token_ids) == room - 2
    assert _holds_what_was_said(decoder, reply)


@MODES
@pytest.mark.parametrize("boundary", range(4, 80, 5))
def test_drafts_never_reach_across_the_rotary_boundary(mode: bool | None, boundary: int):
    """Beyond it the model reads everything again: accepted tokens would have been read with the wrong factors."""
    decoder = Script(REPETITIVE, boundary=boundary)  # checks that it is not asked to
    _same(reply_of(run_loop(decoder, speculation=mode)), reply_of(run_loop(Script(REPETITIVE), speculation=False)))


@pytest.mark.parametrize("stop", ["lamp off", "🙂 turn", "on,", "the"])
@MODES
def test_a_stop_string_ends_a_drafted_run_in_its_midst(mode: bool | None, stop: str):
    decoder = Script([*TOKENIZER.encode_text("turn turn turn turn turn turn "), *REPETITIVE])
    reply = reply_of(run_loop(decoder, speculation=mode, stop=(stop,)))
    plain = Script([*TOKENIZER.encode_text("turn turn turn turn turn turn "), *REPETITIVE])
    _same(reply, reply_of(run_loop(plain, speculation=False, stop=(stop,))))
    assert decoder.held == plain.held


@pytest.mark.parametrize("after", range(0, len(REPETITIVE), 7))
def test_a_drafted_reply_is_cancelled_within_one_token(after: int):
    said: list[Event] = []
    decoder = Script(REPETITIVE)
    sequence = InputSequence(ArrayTable(np.zeros((VOCAB, 4))), np.array([1, 2, 3]), {})
    task = GenerationTask(
        sequence=sequence, adapter="none", options=SamplingOptions(speculation=True), eos=EOS,
        control=RequestControl(should_stop=lambda: sum(isinstance(event, TokenEvent) for event in said) >= after),
    )  # fmt: skip
    for event in generate(decoder, TOKENIZER, task):  # type: ignore[arg-type]
        said.append(event)  # noqa: PERF402 - `should_stop` looks at it meanwhile
    reply = reply_of(said)
    assert (reply.finish_reason, list(reply.token_ids)) == ("cancelled", REPETITIVE[:after])
    assert not after or _holds_what_was_said(decoder, reply)
    assert len(sequence) >= decoder.num_cached


@pytest.mark.parametrize("after", range(1, len(REPETITIVE), 7))
def test_a_reply_that_is_closed_leaves_only_what_was_said(after: int):
    decoder = Script(REPETITIVE)
    sequence = InputSequence(ArrayTable(np.zeros((VOCAB, 4))), np.array([1, 2, 3]), {})
    task = GenerationTask(sequence=sequence, adapter="none", options=SamplingOptions(speculation=True), eos=EOS)
    events = generate(decoder, TOKENIZER, task)  # type: ignore[arg-type]
    num_tokens = 0
    for event in events:
        num_tokens += isinstance(event, TokenEvent)
        if num_tokens == after:
            break
    events.close()
    assert decoder.held == sequence.token_ids.tolist() == [1, 2, 3, *REPETITIVE[: after - 1]]
    assert list(events) == []


@MODES
@pytest.mark.parametrize("constraint", [Regex("(turn the lamp on, )+"), Regex("[a-z ,]{40}"), Grammar('start: "ab"')])
def test_a_constraint_holds_for_drafted_tokens(mode: bool | None, constraint: Any):
    (letter,) = TOKENIZER.encode_text("a")
    plain = reply_of(run_loop(Loop(letter), limit=60, constraint=constraint, speculation=False))
    _same(reply_of(run_loop(Loop(letter), limit=60, constraint=constraint, speculation=mode)), plain)


@MODES
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    "values",
    [{}, {"presence_penalty": 0.5}, {"frequency_penalty": -1.0}, {"repetition_penalty": 1.3, "logit_bias": {4: 3.0}}],
)
def test_drawn_tokens_are_those_of_the_same_seed_without_drafts(mode: bool | None, seed: int, values: dict[str, Any]):
    options = {"limit": 80, "temperature": 0.7, "seed": seed, "top_k": 4, **values}
    drafted = reply_of(run_loop(Habit(), speculation=mode, **options))
    _same(drafted, reply_of(run_loop(Habit(), speculation=False, **options)))
    assert mode is None or drafted.speculation.drafted > 0


def test_a_seed_gives_the_same_passes_each_time():
    """What is checked together follows from measured times, and rounding from what is checked together."""
    ids = [5, 6, 7] * 30
    assert reply_of(run_loop(Script(ids), limit=80, temperature=0.01, seed=1)).speculation == Speculation()
    first, second = (run_loop(Script(ids), limit=80, temperature=0.01, seed=1, speculation=True) for _ in range(2))
    assert reply_of(first).speculation == reply_of(second).speculation != Speculation()


class Habit(Loop):
    """A decoder whose logits follow from the last two tokens, with a few likely ones among them."""

    def __init__(self) -> None:
        super().__init__(0)

    def forward(
        self,
        sequence: InputSequence,
        *,
        adapter: str,
        rows: int = 1,
        should_stop: Callable[[], bool] | None = None,
    ) -> np.ndarray:
        self.held = ids = sequence.token_ids.tolist()
        return np.stack([_habit(*ids[end - 2 : end]) for end in range(len(ids) - rows + 1, len(ids) + 1)])


def _habit(first: int, second: int) -> np.ndarray:
    logits = np.random.default_rng([first, second]).standard_normal(VOCAB).astype(np.float32)
    logits[6:] = -30
    return logits


def test_a_drafted_run_takes_no_time_of_the_callers():
    sequence = InputSequence(ArrayTable(np.zeros((VOCAB, 4))), np.array([1, 2, 3]), {})
    task = GenerationTask(
        sequence=sequence, adapter="none", options=SamplingOptions(speculation=True), eos=frozenset({END}),
    )  # fmt: skip
    ids = [*TOKENIZER.encode_text("hahahahahahaha"), END]
    reply = None
    for event in generate(Script(ids), TOKENIZER, task):  # type: ignore[arg-type]
        if isinstance(event, DoneEvent):
            reply = event.reply
        elif isinstance(event, TokenEvent):
            time.sleep(0.02)
    assert reply is not None
    assert reply.speculation.accepted > 0
    assert 0 < reply.timing.decode_s < 0.02 * len(ids)
