"""With a real decoder, guessing must change neither the tokens of a reply nor what is kept of it for the next one.

Rows of one pass differ from passes of one row by some 1e-6 (float32 keys and values). Where activations are rounded to
eight bits, that can move one of them to the next step, which is a thousand times as much. A reply may take the other of
two tokens that are that close. `_compare` allows nothing else of a greedy one, and counts them.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from typing import Any

import numpy as np
import pytest

from edgephi import DoneEvent, Model, Regex, SamplingOptions, TokenEvent
from edgephi.bundle.bundle import Bundle
from edgephi.decoder.decoder import Decoder
from edgephi.decoder.embedding_table import EmbeddingTable
from edgephi.generation.constraint import ConstraintCompiler
from edgephi.generation.loop import GenerationTask, generate
from edgephi.generation.reply import Reply
from edgephi.model_options import ModelOptions
from edgephi.prompt.input_sequence import InputSequence
from edgephi.prompt.tokenizer import Tokenizer
from support.bundles import small_bundle
from support.random_values import integers
from support.signals import random_audio, random_image
from support.vocabulary import build_tokenizer, special_id

RECIPES = ("fp32", "int8", "int4", "int4-fast")
TOKENIZER = Tokenizer(build_tokenizer().to_str(), "tokenizer.json")
CLOSE = 2e-5  # how much logits move
ROUNDED = 0.1  # the same where activations are rounded
BOUNDARY = 64


class Voice:
    """A decoder that answers lists of ids."""

    def __init__(self, bundle: Bundle, **limits: Any) -> None:
        self._table = EmbeddingTable(bundle, bundle.manifest.decoder.embedding)
        self.decoder = Decoder(bundle, ModelOptions(threads=1, **limits))

    def say(self, ids: list[int], *, mode: bool | None, keep: bool = False, **options: Any) -> Reply:
        """A reply without an end of its own, which goes on to the limit."""
        sequence = InputSequence(self._table, np.array(ids), {})
        self.decoder.sequences.begin(sequence, "none", fresh=not keep)
        wanted = SamplingOptions(**{"max_new_tokens": 60, "logprobs": 2, "speculation": mode, **options})
        constraint = None
        if wanted.constraint is not None:
            constraint = _compiler().start(wanted.constraint)
        task = GenerationTask(sequence=sequence, adapter="none", options=wanted, eos=frozenset(), constraint=constraint)
        *_, done = generate(self.decoder, TOKENIZER, task)
        assert isinstance(done, DoneEvent)
        assert self.decoder.num_cached == len(sequence) == len(ids) + len(done.reply.token_ids) - 1
        self.decoder.sequences.trim()
        return done.reply

    def logits(self, ids: list[int], *, keep: bool) -> np.ndarray:
        sequence = InputSequence(self._table, np.array(ids), {})
        held = self.decoder.sequences.begin(sequence, "none", fresh=not keep)
        assert keep == (held > 0)
        return self.decoder.forward(sequence, adapter="none").copy()


@functools.cache
def _compiler() -> ConstraintCompiler:
    return ConstraintCompiler(TOKENIZER, eos=[special_id("<|end|>")], vocab_size=400)


@functools.cache
def _voice(recipe: str) -> Voice:
    return Voice(Bundle(small_bundle(recipe=recipe)))


def _low(**limits: Any) -> Voice:
    """With LongRoPE's border where crossing it is cheap."""
    bundle = Bundle(small_bundle())
    rope = dataclasses.replace(bundle.manifest.rope, original_max_positions=BOUNDARY)
    bundle.manifest = dataclasses.replace(bundle.manifest, rope=rope)
    return Voice(bundle, **limits)


def _prompt(seed: int) -> list[int]:
    """A sentence that is said three times and begun once more."""
    sentence = integers(f"speculated {seed}", 0, 11, 350)
    return sentence * 3 + sentence[:4]


def _compare(plain: Reply, drafted: Reply, close: float = CLOSE) -> int:
    """How many near-ties were taken the other way: 0 or 1, as nothing after the first can be compared."""
    pairs = itertools.zip_longest(plain.token_ids, drafted.token_ids)
    at = next((at for at, (one, two) in enumerate(pairs) if one != two), None)
    if at is None:
        assert (plain.finish_reason, plain.text) == (drafted.finish_reason, drafted.text)
        ours, theirs = ([choice.logprob for choice in reply.logprobs] for reply in (plain, drafted))
        np.testing.assert_allclose(ours, theirs, atol=close)
        return 0
    (_, first), (_, second) = plain.logprobs[at].top
    assert first - second < close
    return 1


@pytest.mark.parametrize("recipe", RECIPES)
def test_greedy_replies_are_the_same_with_drafts(recipe: str):
    voice, near_ties, accepted = _voice(recipe), 0, 0
    for seed in range(5):
        plain = voice.say(_prompt(seed), mode=False)
        drafted = voice.say(_prompt(seed), mode=True)
        near_ties += _compare(plain, drafted, CLOSE if recipe == "fp32" else ROUNDED)
        accepted += drafted.speculation.accepted
        assert plain.speculation.drafted == 0 < drafted.speculation.drafted
    assert near_ties <= 1
    assert accepted > 8


@pytest.mark.parametrize("recipe", RECIPES)
def test_drawn_replies_are_the_same_with_drafts(recipe: str):
    voice, num_drafts, different = _voice(recipe), 0, 0
    for seed in range(4):
        drawn = {"temperature": 0.2, "top_k": 3, "seed": seed, "frequency_penalty": -1.0, "repetition_penalty": 0.8}
        plain = voice.say(_prompt(seed), mode=False, **drawn)
        drafted = voice.say(_prompt(seed), mode=True, **drawn)
        different += drafted.token_ids != plain.token_ids
        num_drafts += drafted.speculation.drafted
    assert different <= (recipe != "fp32")
    assert num_drafts > 20


@pytest.mark.parametrize("recipe", ["fp32", "int4-fast"])
def test_constrained_replies_are_the_same_with_drafts(recipe: str):
    voice, accepted = _voice(recipe), 0
    for seed in range(3):
        options: dict[str, Any] = {"constraint": Regex("((ab|ac|ad)[0-9]; ){12}")}
        plain = voice.say(_prompt(seed), mode=False, **options)
        drafted = voice.say(_prompt(seed), mode=True, **options)
        assert _compare(plain, drafted, CLOSE if recipe == "fp32" else ROUNDED) <= (recipe != "fp32")
        accepted += drafted.speculation.accepted
    assert accepted > 0


@pytest.mark.parametrize("seed", range(4))
def test_what_is_kept_after_a_drafted_reply_is_what_was_said(seed: int):
    """Else the next turn would go on from tokens that nobody said."""
    voice, prompt = _voice("fp32"), _prompt(seed)
    reply = voice.say(prompt, mode=True)
    assert reply.speculation.drafted > reply.speculation.accepted  # something had to be forgotten
    turn = [*prompt, *reply.token_ids, 7, 8, 9]
    kept = voice.logits(turn, keep=True)
    np.testing.assert_allclose(kept, voice.logits(turn, keep=False), atol=CLOSE)


@pytest.mark.parametrize("length", [40, 55, 62, 63, 64, 65])
def test_a_drafted_reply_crosses_the_rotary_boundary_as_a_plain_one(length: int):
    voice, prompt = _low(), (_prompt(0) * 2)[:length]
    plain, drafted = (voice.say(prompt, mode=mode) for mode in (False, True))
    assert _compare(plain, drafted) == 0
    assert drafted.speculation.drafted > 0


@pytest.mark.parametrize("max_context", range(45, 61, 3))
def test_a_drafted_reply_fills_the_context_to_its_last_position(max_context: int):
    voice = Voice(Bundle(small_bundle()), max_context=max_context)
    plain, drafted = (voice.say(_prompt(1), mode=mode) for mode in (False, True))
    assert _compare(plain, drafted) == 0
    assert len(drafted.token_ids) == max_context - len(_prompt(1)) + 1


@pytest.mark.parametrize("chunk", [1, 2, 3])
def test_a_pass_that_is_cut_into_chunks_checks_the_same_drafts(chunk: int):
    voice = Voice(Bundle(small_bundle()), chunk=chunk)
    plain, drafted = (voice.say(_prompt(2), mode=mode) for mode in (False, True))
    assert _compare(plain, drafted) == 0
    assert drafted.speculation.accepted > 0


IMAGE = random_image("speculate", 120, 70)
AUDIO = (random_audio("speculate", 1.0, 16000), 16000)


@pytest.fixture(scope="module")
def model() -> Model:
    return Model.load(small_bundle(), threads=1)


@pytest.mark.parametrize("media", [{}, {"audio": [AUDIO]}, {"images": [IMAGE]}, {"images": [IMAGE], "audio": [AUDIO]}])
def test_every_mode_answers_the_same_with_drafts(model: Model, media: dict[str, Any]):
    """And the second turn, which goes on from what the first left in the cache."""
    answers = []
    for mode in (False, True):
        model.clear_cache()
        wanted = SamplingOptions(max_new_tokens=40, speculation=mode)
        messages = [{"role": "user", "content": "on off on off on off on"}]
        first = model.generate(messages, **media, options=wanted)
        messages += [{"role": "assistant", "content": first.text}, {"role": "user", "content": "again"}]
        second = model.generate(messages, **media, options=wanted)
        answers.append((first.token_ids, second.token_ids))
        assert mode == (first.speculation.drafted + second.speculation.drafted > 0)
    assert answers[0] == answers[1]


def test_a_drafted_stream_that_is_left_early_harms_no_later_reply(model: Model):
    wanted = SamplingOptions(max_new_tokens=40, speculation=True)
    model.clear_cache()
    expected = model.generate("on off on off on off on", options=wanted)
    for leave in range(1, 40, 6):
        model.clear_cache()
        events = model.stream("on off on off on off on", options=wanted)
        seen = 0
        while seen < leave:
            seen += isinstance(next(events), TokenEvent)
        events.close()
        assert model.generate("on off on off on off on", options=wanted).token_ids == expected.token_ids
