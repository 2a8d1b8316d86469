"""The loop must stop where it should, and never show half a character or a control token."""

from __future__ import annotations

import time

import numpy as np
import pytest

from edgephi.generation.constraint import Grammar, Regex
from edgephi.generation.loop import GenerationTask, generate
from edgephi.generation.reply import Choice, DoneEvent, TextEvent, TokenEvent
from edgephi.generation.sampler import SamplingOptions
from edgephi.prompt.input_sequence import InputSequence
from support.scripted_decoder import (
    CALL,
    CALL_END,
    END,
    TOKENIZER,
    VOCAB,
    Loop,
    Script,
    reply_of,
    run_loop,
)
from support.tables import ArrayTable
from support.vocabulary import special_id


@pytest.mark.parametrize("end", ["<|end|>", "<|endoftext|>"])
def test_every_closing_token_ends_the_reply(end: str):
    ids = [*TOKENIZER.encode_text("hi"), special_id(end)]
    reply = reply_of(run_loop(Script([*ids, 5])))
    assert (reply.text, reply.finish_reason, list(reply.token_ids)) == ("hi", "stop", ids)


def test_events_report_every_token_and_all_the_text():
    ids = [*TOKENIZER.encode_text("naïve 🙂 café 你好"), END]
    events = run_loop(Script(ids))
    tokens = [event for event in events if isinstance(event, TokenEvent)]
    texts = [event.text for event in events if isinstance(event, TextEvent)]
    assert tokens == [TokenEvent(Choice(token_id), i) for i, token_id in enumerate(ids)]
    assert "".join(texts) == reply_of(events).text == "naïve 🙂 café 你好"
    assert all(texts)
    assert not any("\ufffd" in text for text in texts)


def test_a_reply_cut_inside_a_character_shows_it_as_replaced():
    events = run_loop(Script(TOKENIZER.encode_text("a🙂")), limit=3)
    assert (reply_of(events).text, reply_of(events).finish_reason) == ("a\ufffd", "length")


def test_the_limit_counts_tokens():
    reply = reply_of(run_loop(Script([5] * 50), limit=7))
    assert (len(reply.token_ids), reply.timing.new_tokens, reply.finish_reason) == (7, 7, "length")


def test_a_full_context_ends_the_reply_in_order():
    reply = reply_of(run_loop(Script([5] * 50, room=6)))
    assert (len(reply.token_ids), reply.finish_reason) == (4, "length")  # the fourth token need not be read


def test_control_tokens_are_not_text():
    ids = [*TOKENIZER.encode_text("a"), special_id("<|user|>"), *TOKENIZER.encode_text("b"), END]
    assert reply_of(run_loop(Script(ids))).text == "ab"


def test_tool_calls_are_parsed_and_their_markers_left_out():
    text = '[{"name": "lamp", "arguments": {"room": "café"}}]'
    reply = reply_of(run_loop(Script([CALL, *TOKENIZER.encode_text(text), CALL_END, END])))
    assert reply.text == text
    (call,) = reply.tool_calls
    assert (call.name, call.arguments, call.error) == ("lamp", {"room": "café"}, None)


def test_a_tool_call_without_its_closing_marker_is_still_read():
    reply = reply_of(run_loop(Script([CALL, *TOKENIZER.encode_text('[{"name": "f", "arguments": {}}]'), END])))
    assert [call.name for call in reply.tool_calls] == ["f"]


def test_text_without_markers_is_no_tool_call():
    reply = reply_of(run_loop(Script([*TOKENIZER.encode_text('[{"name": "f"}]'), END])))
    assert reply.tool_calls == ()


@pytest.mark.parametrize("after", range(5))
def test_a_reply_can_be_cancelled_at_every_step(after: int):
    asked = iter([False] * after + [True] * 100)
    reply = reply_of(run_loop(Script([5] * 50), should_stop=lambda: next(asked)))
    assert reply.finish_reason == "cancelled"
    assert len(reply.token_ids) <= after
    assert reply.timing.new_tokens == len(reply.token_ids)


@pytest.mark.parametrize("stop", ["lamp", "What is", "🙂", "ing", "\n\n"])
def test_a_stop_string_ends_the_reply_wherever_token_boundaries_fall(stop: str):
    before = "the kitchen: é "
    ids = [*TOKENIZER.encode_text(before + stop), *TOKENIZER.encode_text(" and more"), END]
    events = run_loop(Script(ids), stop=("never said", stop))
    reply = reply_of(events)
    assert (reply.text, reply.finish_reason) == (before, "stop")
    assert "".join(event.text for event in events if isinstance(event, TextEvent)) == before
    assert list(reply.token_ids) == ids[: len(reply.token_ids)]  # nothing was generated after it
    assert TOKENIZER.decode(reply.token_ids).endswith(stop)


def test_a_text_that_only_begins_like_a_stop_string_is_shown_whole():
    ids = [*TOKENIZER.encode_text("turn the lam"), END]
    assert reply_of(run_loop(Script(ids), stop=("lamp",))).text == "turn the lam"
    assert reply_of(run_loop(Script(ids), stop=("lamp",), limit=len(ids) - 1)).text == "turn the lam"


def test_a_stop_string_that_only_the_last_bytes_complete_is_a_stop():
    """A reply cut by its budget in the middle of a character would be called cut, though its end was reached."""
    begun = next(token_id for token_id in range(256) if TOKENIZER.token_bytes(token_id) == b"\xf0")
    ids = [*TOKENIZER.encode_text("a"), begun]
    reply = reply_of(run_loop(Script([*ids, 5]), stop=("a\ufffd",), limit=len(ids)))
    assert (reply.text, reply.finish_reason) == ("", "stop")
    other = reply_of(run_loop(Script([*ids, 5]), stop=("b\ufffd",), limit=len(ids)))
    assert (other.text, other.finish_reason) == ("a\ufffd", "length")


def test_log_probabilities_are_reported_for_every_token():
    ids = [*TOKENIZER.encode_text("hi"), END]
    reply = reply_of(run_loop(Script(ids), logprobs=2))
    assert [choice.token_id for choice in reply.logprobs] == ids
    for choice in reply.logprobs:
        assert choice.logprob == pytest.approx(1 - np.log(np.e + VOCAB - 1), abs=1e-5)
        assert choice.top[0] == (choice.token_id, choice.logprob)
    assert reply_of(run_loop(Script(ids))).logprobs == ()


def test_penalties_reach_the_loop():
    """Said once, a token's lead of 1 is gone; the prompt's ids 1, 2 and 3 are known to the repetition penalty."""
    reply = reply_of(run_loop(Loop(5), limit=3, presence_penalty=2.0))
    assert reply.token_ids == (5, 0, 1)
    reply = reply_of(run_loop(Loop(2), limit=1, repetition_penalty=100.0, logit_bias={7: 0.5}))
    assert reply.token_ids == (7,)


def test_a_met_constraint_ends_the_reply_without_another_step():
    """No token is spent on an end that the constraint already knows; a limit that it just meets is no cut."""
    (y,) = TOKENIZER.encode_text("y")
    for limit in (3, 100):
        reply = reply_of(run_loop(Loop(y), limit=limit, constraint=Regex("yes")))
        assert (reply.text, reply.finish_reason, len(reply.token_ids)) == ("yes", "stop", 3)


def test_an_unmet_constraint_is_reported_as_cut():
    (y,) = TOKENIZER.encode_text("y")
    reply = reply_of(run_loop(Loop(y), limit=2, constraint=Regex("yes")))
    assert (reply.text, reply.finish_reason) == ("ye", "length")
    endless = reply_of(run_loop(Loop(y), limit=9, constraint=Regex("y+")))
    assert (endless.text, endless.finish_reason) == ("y" * 9, "length")


def test_a_constrained_reply_cannot_call_tools_behind_the_constraints_back():
    reply = reply_of(run_loop(Loop(CALL), limit=9, constraint=Grammar('start: "ab"')))
    assert (reply.text, reply.tool_calls) == ("ab", ())


def test_times_add_up():
    timing = reply_of(run_loop(Script([*TOKENIZER.encode_text("some words"), END]))).timing
    assert timing.prompt_tokens == 3
    assert 0 < timing.prefill_s <= timing.ttft_s
    assert timing.decode_s > 0
    assert timing.decode_tok_s == pytest.approx((timing.new_tokens - 1) / timing.decode_s)
    assert timing.peak_rss_bytes > 1 << 20


def test_the_callers_time_between_events_is_not_the_models():
    sequence = InputSequence(ArrayTable(np.zeros((VOCAB, 4))), np.array([1, 2, 3]), {})
    task = GenerationTask(
        sequence=sequence,
        adapter="none",
        options=SamplingOptions(max_new_tokens=3),
        eos=frozenset({END}),
    )
    for event in generate(Script([5] * 5), TOKENIZER, task):  # type: ignore[arg-type]
        if isinstance(event, DoneEvent):
            assert 0 < event.reply.timing.decode_s < 0.1
        elif isinstance(event, TokenEvent):
            time.sleep(0.1)


def test_a_system_without_resource_usage_says_no_peak(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("edgephi.generation.timing.resource", None)
    assert reply_of(run_loop(Script([5, END]))).timing.peak_rss_bytes == 0
