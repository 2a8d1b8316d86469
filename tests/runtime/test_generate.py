"""The loop must stop where it should, and never show half a character or a control token."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from edgephi.embed import InputSequence
from edgephi.generate import Clock, Job, generate
from edgephi.reply import DoneEvent, Event, Reply, TextEvent, TokenEvent
from edgephi.sampling import SamplingOptions
from edgephi.stopping import Stopped
from edgephi.tokenizer import Tokenizer
from support.tables import ArrayTable
from support.vocabulary import build_tokenizer, special_id

VOCAB = 400
END, CALL, CALL_END = special_id("<|end|>"), special_id("<|tool_call|>"), special_id("<|/tool_call|>")


class Script:
    """A decoder that says given ids, and checks that it is fed what it said."""

    def __init__(self, token_ids: Sequence[int], room: int = 10_000) -> None:
        self._token_ids = list(token_ids)
        self._room = room
        self._prompt: int | None = None

    def has_room(self, total: int) -> bool:
        return total <= self._room

    def read(
        self, sequence: InputSequence, *, adapter: str, should_stop: Callable[[], bool] | None = None
    ) -> np.ndarray:
        if should_stop is not None and should_stop():
            raise Stopped
        self._prompt = len(sequence) if self._prompt is None else self._prompt
        said = sequence.token_ids[self._prompt :].tolist()
        assert said == self._token_ids[: len(said)]
        assert adapter == "none"
        logits = np.zeros(VOCAB, np.float32)
        logits[self._token_ids[len(said)]] = 1
        return logits


TOKENIZER = Tokenizer(build_tokenizer().to_str(), "tokenizer.json")


def _run(decoder: Script, limit: int = 1000, should_stop: Callable[[], bool] = lambda: False) -> list[Event]:
    sequence = InputSequence(ArrayTable(np.zeros((VOCAB, 4))), np.array([1, 2, 3]), {})
    options = SamplingOptions(max_new_tokens=limit)
    job = Job(
        sequence=sequence, adapter="none", options=options, eos=frozenset({END, special_id("<|endoftext|>")}),
        clock=Clock(), should_stop=should_stop,
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
