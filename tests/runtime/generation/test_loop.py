"""The loop must stop where it should, and never show half a character or a control token."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from edgephi.base.cancellation import Stopped
from edgephi.generation.constraint import ConstraintCompiler, Grammar, Regex
from edgephi.generation.loop import Clock, Job, generate
from edgephi.generation.reply import DoneEvent, Event, Reply, Speculation, TextEvent, TokenEvent
from edgephi.generation.sampler import SamplingOptions
from edgephi.prompt.input_sequence import InputSequence
from edgephi.prompt.tokenizer import Tokenizer
from support.tables import ArrayTable
from support.vocabulary import build_tokenizer, special_id

VOCAB = 400
END, CALL, CALL_END = special_id("<|end|>"), special_id("<|tool_call|>"), special_id("<|/tool_call|>")


class Script:
    """A decoder that says given ids, and checks that it is fed what it said.

    Logits after a wrong guess are not numbers, so using one fails.
    """

    def __init__(self, token_ids: Sequence[int], room: int = 10_000, border: int = 10_000) -> None:
        self._token_ids = list(token_ids)
        self._room = room
        self._border = border
        self._prompt: int | None = None
        self.held: list[int] = []
        self.widths: list[int] = []
        self.longest = 0

    @property
    def used(self) -> int:
        return len(self.held)

    def has_room(self, total: int) -> bool:
        return total <= self._room

    def reach(self, total: int) -> int:
        return min(self._room, self._border if total <= self._border else self._room)

    def rewind(self, length: int) -> None:
        assert length <= len(self.held)
        del self.held[length:]

    def read(
        self,
        sequence: InputSequence,
        *,
        adapter: str,
        rows: int | str = "last",
        should_stop: Callable[[], bool] | None = None,
    ) -> np.ndarray:
        if should_stop is not None and should_stop():
            raise Stopped
        assert adapter == "none"
        assert len(sequence) <= self._room
        num_rows = 1 if rows == "last" else int(rows)
        ids = sequence.token_ids.tolist()
        self._prompt = len(ids) if self._prompt is None else self._prompt
        if len(ids) - num_rows + 1 == self._border + 1:
            self.held = []  # read again with other factors
            assert num_rows == 1
        assert not self.held or len(self.held) == len(ids) - num_rows
        assert self.held == ids[: len(self.held)]
        assert len(ids) <= self.reach(len(ids) - num_rows + 1)
        self.held = ids
        self.longest = max(self.longest, len(ids))
        self.widths.append(num_rows)
        said = ids[self._prompt :]
        assert said[: len(said) - num_rows + 1] == self._token_ids[: len(said) - num_rows + 1]
        logits = np.stack([self._after(said[: len(said) - back]) for back in reversed(range(num_rows))])
        return logits[-1] if rows == "last" else logits

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


def _run(
    decoder: Script, limit: int = 1000, should_stop: Callable[[], bool] = lambda: False, **values: Any
) -> list[Event]:
    sequence = InputSequence(ArrayTable(np.zeros((VOCAB, 4))), np.array([1, 2, 3]), {})
    options = SamplingOptions(max_new_tokens=limit, **values)
    constraint = None if options.constraint is None else COMPILER.start(options.constraint)
    job = Job(
        sequence=sequence, adapter="none", options=options, eos=EOS, clock=Clock(), should_stop=should_stop,
        constraint=constraint,
    )  # fmt: skip
    return list(generate(decoder, TOKENIZER, job))  # type: ignore[arg-type]


def _reply(events: list[Event]) -> Reply:
    assert isinstance(events[-1], DoneEvent)
    assert not any(isinstance(event, DoneEvent) for event in events[:-1])
    return events[-1].reply


@pytest.mark.parametrize("end", ["<|end|>", "<|endoftext|>"])
def test_every_closing_token_ends_the_reply(end: str):
    ids = [*TOKENIZER.encode_text("hi"), special_id(end)]
    reply = _reply(_run(Script([*ids, 5])))
    assert (reply.text, reply.finish_reason, list(reply.token_ids)) == ("hi", "stop", ids)


def test_events_tell_every_token_and_all_the_text():
    ids = [*TOKENIZER.encode_text("naïve 🙂 café 你好"), END]
    events = _run(Script(ids))
    tokens = [event for event in events if isinstance(event, TokenEvent)]
    texts = [event.text for event in events if isinstance(event, TextEvent)]
    assert tokens == [TokenEvent(token_id, i) for i, token_id in enumerate(ids)]
    assert "".join(texts) == _reply(events).text == "naïve 🙂 café 你好"
    assert all(texts)
    assert not any("\ufffd" in text for text in texts)


def test_a_reply_cut_inside_a_character_shows_it_as_replaced():
    events = _run(Script(TOKENIZER.encode_text("a🙂")), limit=3)
    assert (_reply(events).text, _reply(events).finish_reason) == ("a\ufffd", "length")


def test_the_limit_counts_tokens():
    reply = _reply(_run(Script([5] * 50), limit=7))
    assert (len(reply.token_ids), reply.timing.new_tokens, reply.finish_reason) == (7, 7, "length")


def test_a_full_context_ends_the_reply_in_order():
    reply = _reply(_run(Script([5] * 50, room=6)))
    assert (len(reply.token_ids), reply.finish_reason) == (4, "length")  # the fourth token need not be read


def test_control_tokens_are_not_text():
    ids = [*TOKENIZER.encode_text("a"), special_id("<|user|>"), *TOKENIZER.encode_text("b"), END]
    assert _reply(_run(Script(ids))).text == "ab"


def test_tool_calls_are_parsed_and_their_markers_left_out():
    text = '[{"name": "lamp", "arguments": {"room": "café"}}]'
    reply = _reply(_run(Script([CALL, *TOKENIZER.encode_text(text), CALL_END, END])))
    assert reply.text == text
    (call,) = reply.tool_calls
    assert (call.name, call.arguments, call.error) == ("lamp", {"room": "café"}, None)


def test_a_tool_call_without_its_closing_marker_is_still_read():
    reply = _reply(_run(Script([CALL, *TOKENIZER.encode_text('[{"name": "f", "arguments": {}}]'), END])))
    assert [call.name for call in reply.tool_calls] == ["f"]


def test_text_without_markers_is_no_tool_call():
    reply = _reply(_run(Script([*TOKENIZER.encode_text('[{"name": "f"}]'), END])))
    assert reply.tool_calls == ()


@pytest.mark.parametrize("after", range(5))
def test_a_reply_can_be_cancelled_at_every_step(after: int):
    asked = iter([False] * after + [True] * 100)
    reply = _reply(_run(Script([5] * 50), should_stop=lambda: next(asked)))
    assert reply.finish_reason == "cancelled"
    assert len(reply.token_ids) <= after
    assert reply.timing.new_tokens == len(reply.token_ids)


@pytest.mark.parametrize("stop", ["lamp", "What is", "🙂", "ing", "\n\n"])
def test_a_stop_string_ends_the_reply_wherever_token_borders_fall(stop: str):
    before = "the kitchen: é "
    ids = [*TOKENIZER.encode_text(before + stop), *TOKENIZER.encode_text(" and more"), END]
    events = _run(Script(ids), stop=("never said", stop))
    reply = _reply(events)
    assert (reply.text, reply.finish_reason) == (before, "stop")
    assert "".join(event.text for event in events if isinstance(event, TextEvent)) == before
    assert list(reply.token_ids) == ids[: len(reply.token_ids)]  # nothing was generated after it
    assert TOKENIZER.decode(reply.token_ids).endswith(stop)


def test_a_text_that_only_begins_like_a_stop_string_is_shown_whole():
    ids = [*TOKENIZER.encode_text("turn the lam"), END]
    assert _reply(_run(Script(ids), stop=("lamp",))).text == "turn the lam"
    assert _reply(_run(Script(ids), stop=("lamp",), limit=len(ids) - 1)).text == "turn the lam"


def test_a_stop_string_that_only_the_last_bytes_complete_is_a_stop():
    """A reply cut by its budget in the middle of a character would be called cut, though its end was reached."""
    begun = next(token_id for token_id in range(256) if TOKENIZER.token_bytes(token_id) == b"\xf0")
    ids = [*TOKENIZER.encode_text("a"), begun]
    reply = _reply(_run(Script([*ids, 5]), stop=("a\ufffd",), limit=len(ids)))
    assert (reply.text, reply.finish_reason) == ("", "stop")
    other = _reply(_run(Script([*ids, 5]), stop=("b\ufffd",), limit=len(ids)))
    assert (other.text, other.finish_reason) == ("a\ufffd", "length")


def test_log_probabilities_are_reported_for_every_token():
    ids = [*TOKENIZER.encode_text("hi"), END]
    reply = _reply(_run(Script(ids), logprobs=2))
    assert [choice.token_id for choice in reply.logprobs] == ids
    for choice in reply.logprobs:
        assert choice.logprob == pytest.approx(1 - np.log(np.e + VOCAB - 1), abs=1e-5)
        assert choice.top[0] == (choice.token_id, choice.logprob)
    assert _reply(_run(Script(ids))).logprobs == ()


def test_penalties_reach_the_loop():
    """Said once, a token's lead of 1 is gone; the prompt's ids 1, 2 and 3 are known to the repetition penalty."""
    reply = _reply(_run(Loop(5), limit=3, presence_penalty=2.0))
    assert reply.token_ids == (5, 0, 1)
    reply = _reply(_run(Loop(2), limit=1, repetition_penalty=100.0, logit_bias={7: 0.5}))
    assert reply.token_ids == (7,)


class Loop(Script):
    """A decoder that always says the same, whatever is made of it."""

    def __init__(self, token_id: int) -> None:
        super().__init__([token_id])

    def read(
        self,
        sequence: InputSequence,
        *,
        adapter: str,
        rows: int | str = "last",
        should_stop: Callable[[], bool] | None = None,
    ) -> np.ndarray:
        self.held = sequence.token_ids.tolist()
        self.widths.append(1 if rows == "last" else int(rows))
        logits = (np.arange(VOCAB) == self._token_ids[0]).astype(np.float32)
        return logits if rows == "last" else np.tile(logits, (int(rows), 1))


def test_a_met_constraint_ends_the_reply_without_another_step():
    """No token is spent on an end that the constraint already knows; a limit that it just meets is no cut."""
    (y,) = TOKENIZER.encode_text("y")
    for limit in (3, 100):
        reply = _reply(_run(Loop(y), limit=limit, constraint=Regex("yes")))
        assert (reply.text, reply.finish_reason, len(reply.token_ids)) == ("yes", "stop", 3)


def test_an_unmet_constraint_is_reported_as_cut():
    (y,) = TOKENIZER.encode_text("y")
    reply = _reply(_run(Loop(y), limit=2, constraint=Regex("yes")))
    assert (reply.text, reply.finish_reason) == ("ye", "length")
    endless = _reply(_run(Loop(y), limit=9, constraint=Regex("y+")))
    assert (endless.text, endless.finish_reason) == ("y" * 9, "length")


def test_a_constrained_reply_cannot_call_tools_behind_the_constraints_back():
    reply = _reply(_run(Loop(CALL), limit=9, constraint=Grammar('start: "ab"')))
    assert (reply.text, reply.tool_calls) == ("ab", ())


def test_times_add_up():
    timing = _reply(_run(Script([*TOKENIZER.encode_text("some words"), END]))).timing
    assert timing.prompt_tokens == 3
    assert 0 < timing.prefill_s <= timing.ttft_s
    assert timing.decode_s > 0
    assert timing.decode_tok_s == pytest.approx((timing.new_tokens - 1) / timing.decode_s)
    assert timing.peak_rss_bytes > 1 << 20


def test_the_callers_time_between_events_is_not_the_models():
    sequence = InputSequence(ArrayTable(np.zeros((VOCAB, 4))), np.array([1, 2, 3]), {})
    job = Job(
        sequence=sequence,
        adapter="none",
        options=SamplingOptions(max_new_tokens=3),
        eos=frozenset({END}),
        clock=Clock(),
    )
    for event in generate(Script([5] * 5), TOKENIZER, job):  # type: ignore[arg-type]
        if isinstance(event, DoneEvent):
            assert 0 < event.reply.timing.decode_s < 0.1
        elif isinstance(event, TokenEvent):
            time.sleep(0.1)


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
    plain, guessed = (Script(REPETITIVE), Script(REPETITIVE))
    expected = _run(plain, speculation=False, logprobs=2)
    actual = _run(guessed, speculation=mode, logprobs=2)
    assert actual[:-1] == expected[:-1]
    _same(_reply(actual), _reply(expected))
    assert guessed.held == plain.held == [1, 2, 3, *REPETITIVE[:-1]]
    assert set(plain.widths) == {1}
    assert _reply(expected).speculation == Speculation()


def test_right_guesses_save_passes_and_the_reply_says_so():
    decoder = Script(REPETITIVE)
    made = _reply(_run(decoder, speculation=True)).speculation
    assert len(decoder.widths) + made.accepted == len(REPETITIVE)
    assert made.passes == sum(width > 1 for width in decoder.widths)
    assert made.proposed == sum(width - 1 for width in decoder.widths)
    assert made.accepted > len(REPETITIVE) / 2


def test_wrong_guesses_are_forgotten():
    """Two words that begin alike: half of the guesses are wrong."""
    ids = TOKENIZER.encode_text("lamp on lamp off lamp on lamp on lamp off lamp off " * 4)
    decoder = Script([*ids, END])
    reply = _reply(_run(decoder, speculation=True))
    assert list(reply.token_ids) == [*ids, END]
    assert 0 < reply.speculation.accepted < reply.speculation.proposed


@MODES
@pytest.mark.parametrize("limit", range(1, len(REPETITIVE) + 2, 3))
def test_the_limit_counts_guessed_tokens_and_reads_no_more(mode: bool | None, limit: int):
    decoder = Script(REPETITIVE)
    reply = _reply(_run(decoder, limit=limit, speculation=mode))
    assert list(reply.token_ids) == REPETITIVE[:limit]
    assert _holds_what_was_said(decoder, reply)
    assert decoder.longest <= 3 + limit - 1


@MODES
@pytest.mark.parametrize("room", range(4, 80, 5))
def test_a_full_context_ends_a_guessed_reply_where_it_ends_a_plain_one(mode: bool | None, room: int):
    decoder = Script(REPETITIVE, room=room)
    reply = _reply(_run(decoder, speculation=mode))
    _same(reply, _reply(_run(Script(REPETITIVE, room=room), speculation=False)))
    assert len(reply.token_ids) == room - 2
    assert _holds_what_was_said(decoder, reply)


@MODES
@pytest.mark.parametrize("border", range(4, 80, 5))
def test_guesses_never_reach_across_the_rotary_border(mode: bool | None, border: int):
    """Beyond it the model reads everything again: accepted tokens would have been read with the wrong factors."""
    decoder = Script(REPETITIVE, border=border)  # checks that it is not asked to
    _same(_reply(_run(decoder, speculation=mode)), _reply(_run(Script(REPETITIVE), speculation=False)))


@pytest.mark.parametrize("stop", ["lamp off", "🙂 turn", "on,", "the"])
@MODES
def test_a_stop_string_ends_a_guessed_run_in_its_midst(mode: bool | None, stop: str):
    decoder = Script([*TOKENIZER.encode_text("turn turn turn turn turn turn "), *REPETITIVE])
    reply = _reply(_run(decoder, speculation=mode, stop=(stop,)))
    plain = Script([*TOKENIZER.encode_text("turn turn turn turn turn turn "), *REPETITIVE])
    _same(reply, _reply(_run(plain, speculation=False, stop=(stop,))))
    assert decoder.held == plain.held


@pytest.mark.parametrize("after", range(0, len(REPETITIVE), 7))
def test_a_guessed_reply_is_cancelled_within_one_token(after: int):
    said: list[Event] = []
    decoder = Script(REPETITIVE)
    sequence = InputSequence(ArrayTable(np.zeros((VOCAB, 4))), np.array([1, 2, 3]), {})
    job = Job(
        sequence=sequence, adapter="none", options=SamplingOptions(speculation=True), eos=EOS, clock=Clock(),
        should_stop=lambda: sum(isinstance(event, TokenEvent) for event in said) >= after,
    )  # fmt: skip
    for event in generate(decoder, TOKENIZER, job):  # type: ignore[arg-type]
        said.append(event)  # noqa: PERF402 - `should_stop` looks at it meanwhile
    reply = _reply(said)
    assert (reply.finish_reason, list(reply.token_ids)) == ("cancelled", REPETITIVE[:after])
    assert not after or _holds_what_was_said(decoder, reply)
    assert len(sequence) >= decoder.used


@pytest.mark.parametrize("after", range(1, len(REPETITIVE), 7))
def test_a_reply_that_is_closed_leaves_only_what_was_said(after: int):
    decoder = Script(REPETITIVE)
    sequence = InputSequence(ArrayTable(np.zeros((VOCAB, 4))), np.array([1, 2, 3]), {})
    job = Job(sequence=sequence, adapter="none", options=SamplingOptions(speculation=True), eos=EOS, clock=Clock())
    events = generate(decoder, TOKENIZER, job)  # type: ignore[arg-type]
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
def test_a_constraint_holds_for_guessed_tokens(mode: bool | None, constraint: Any):
    (letter,) = TOKENIZER.encode_text("a")
    plain = _reply(_run(Loop(letter), limit=60, constraint=constraint, speculation=False))
    _same(_reply(_run(Loop(letter), limit=60, constraint=constraint, speculation=mode)), plain)


@MODES
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    "values",
    [{}, {"presence_penalty": 0.5}, {"frequency_penalty": -1.0}, {"repetition_penalty": 1.3, "logit_bias": {4: 3.0}}],
)
def test_drawn_tokens_are_those_of_the_same_seed_without_guesses(mode: bool | None, seed: int, values: dict[str, Any]):
    options = {"limit": 80, "temperature": 0.7, "seed": seed, "top_k": 4, **values}
    guessed = _reply(_run(Habit(), speculation=mode, **options))
    _same(guessed, _reply(_run(Habit(), speculation=False, **options)))
    assert mode is None or guessed.speculation.proposed > 0


def test_a_seed_gives_the_same_passes_each_time():
    """What is checked together follows from measured times, and rounding from what is checked together."""
    ids = [5, 6, 7] * 30
    assert _reply(_run(Script(ids), limit=80, temperature=0.01, seed=1)).speculation == Speculation()
    first, second = (_run(Script(ids), limit=80, temperature=0.01, seed=1, speculation=True) for _ in range(2))
    assert _reply(first).speculation == _reply(second).speculation != Speculation()


class Habit(Loop):
    """A decoder whose logits follow from the last two tokens, with a few likely ones among them."""

    def __init__(self) -> None:
        super().__init__(0)

    def read(
        self,
        sequence: InputSequence,
        *,
        adapter: str,
        rows: int | str = "last",
        should_stop: Callable[[], bool] | None = None,
    ) -> np.ndarray:
        self.held = ids = sequence.token_ids.tolist()
        num_rows = 1 if rows == "last" else int(rows)
        logits = np.stack([_habit(*ids[end - 2 : end]) for end in range(len(ids) - num_rows + 1, len(ids) + 1)])
        return logits[-1] if rows == "last" else logits


def _habit(first: int, second: int) -> np.ndarray:
    logits = np.random.default_rng([first, second]).standard_normal(VOCAB).astype(np.float32)
    logits[6:] = -30
    return logits


def test_a_guessed_run_takes_no_time_of_the_callers():
    sequence = InputSequence(ArrayTable(np.zeros((VOCAB, 4))), np.array([1, 2, 3]), {})
    job = Job(
        sequence=sequence, adapter="none", options=SamplingOptions(speculation=True), eos=frozenset({END}),
        clock=Clock(),
    )  # fmt: skip
    ids = [*TOKENIZER.encode_text("hahahahahahaha"), END]
    reply = None
    for event in generate(Script(ids), TOKENIZER, job):  # type: ignore[arg-type]
        if isinstance(event, DoneEvent):
            reply = event.reply
        elif isinstance(event, TokenEvent):
            time.sleep(0.02)
    assert reply is not None
    assert reply.speculation.accepted > 0
    assert 0 < reply.timing.decode_s < 0.02 * len(ids)


def test_a_system_without_resource_usage_says_no_peak(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("edgephi.generation.loop.resource", None)
    assert _reply(_run(Script([5, END]))).timing.peak_rss_bytes == 0
