"""The times of a reply that made room for others: with the last turn's alone a photo would seem to have been cheap."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgephi import Model, SamplingOptions
from edgephi_serve.turns import reply_turns
from edgephi_serve.turns.reply_turns import ReplyTurns
from support.bundles import nano_bundle


def test_the_times_of_all_turns_count_and_the_reply_caches_nothing_for_itself(monkeypatch):
    with Model.load(nano_bundle(), threads=1) as model:
        reply = model.generate("hello", options=SamplingOptions.greedy(max_new_tokens=2))
    none = replace(reply.timing, cached_tokens=3, load_s=0.5, encode_s=4.0, prefill_s=0.0, ttft_s=0.0, new_tokens=0)
    some = replace(none, cached_tokens=3, load_s=0.0, encode_s=1.0, prefill_s=2.0)
    last = replace(some, cached_tokens=40, encode_s=0.0, prefill_s=3.0, ttft_s=3.5, new_tokens=2)
    clock = iter([10.0, 30.0, 50.0])
    monkeypatch.setattr(reply_turns.time, "perf_counter", lambda: next(clock))
    turns, whole = ReplyTurns(), reply
    for timing in (none, some, last):
        turns.begin()
        whole = turns.whole(replace(reply, timing=timing))
    made = whole.timing
    assert (made.load_s, made.encode_s, made.prefill_s, made.cached_tokens) == (0.5, 5.0, 5.0, 3)
    assert made.ttft_s == pytest.approx(40.0 + 3.5)


def test_a_reply_of_one_turn_is_as_it_was(monkeypatch):
    with Model.load(nano_bundle(), threads=1) as model:
        reply = model.generate("hello", options=SamplingOptions.greedy(max_new_tokens=2))
    turns = ReplyTurns()
    turns.begin()
    assert turns.whole(reply) == reply
