"""Sampling must follow its definition and be reproducible."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from edgephi.base.errors import ConfigError, EdgeError
from edgephi.base.numbers import is_finite
from edgephi.generation.constraint import Regex
from edgephi.generation.options import DrawRules
from edgephi.generation.sampler import Choice, Sampler, SamplingOptions
from edgephi.generation.token_selection import candidates, draw, likeliest

LOGITS = np.array([0.1, 2.0, -1.0, 1.5, 0.1, -3.0], np.float32)


def _by_definition(logits: np.ndarray, options: DrawRules) -> dict[int, float]:
    """The distribution written as slowly and plainly as possible: temperature, top-k, top-p, min-p."""
    order = sorted(range(len(logits)), key=lambda i: (-logits[i], i))
    if options.top_k:
        order = order[: options.top_k]
    weights = {i: math.exp(float(logits[i] - logits[order[0]]) / options.temperature) for i in order}
    total = sum(weights.values())
    kept, held = {}, 0.0
    for i in order:
        if options.top_p < 1 and held >= options.top_p:
            break
        kept[i] = weights[i] / total
        held += kept[i]
    kept = {i: p for i, p in kept.items() if p > 0 and p >= options.min_p * kept[order[0]]}
    total = sum(kept.values())
    return {i: p / total for i, p in kept.items()}


def _choose(sampler: Sampler, logits: np.ndarray) -> int:
    return sampler.choose(logits).token_id


@pytest.mark.parametrize("temperature", [0.2, 1.0, 3.0])
@pytest.mark.parametrize("top_k", [0, 1, 3, 5, 100])
@pytest.mark.parametrize("top_p", [0.05, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("min_p", [0.0, 0.3, 1.0])
def test_the_distribution_is_the_defined_one(temperature: float, top_k: int, top_p: float, min_p: float):
    options = SamplingOptions(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p).rules()
    ids, probabilities = candidates(LOGITS, options)
    expected = _by_definition(LOGITS, options)
    assert dict(zip(ids.tolist(), probabilities.tolist(), strict=True)) == pytest.approx(expected)


@pytest.mark.parametrize("spread", [0.3, 4.0])
@pytest.mark.parametrize(
    "values",
    [{"top_k": 50}, {"top_k": 3000, "top_p": 0.8}, {"top_p": 0.7}, {"min_p": 0.2}, {"top_k": 40, "min_p": 0.5}],
)
def test_a_large_vocabulary_has_the_same_distribution(spread: float, values: dict[str, Any]):
    """The shortcuts that avoid a sort of all tokens must not change what can be drawn, near-flat logits included."""
    logits = (np.random.default_rng(0).standard_normal(12_347) * spread).round(2).astype(np.float32)  # has equal ones
    options = SamplingOptions(temperature=0.8, **values).rules()
    expected = _by_definition(logits, options)
    ids, probabilities = candidates(logits, options)
    num = min(len(ids), len(expected))
    assert abs(len(ids) - len(expected)) <= (1 if options.top_p < 1 else 0)  # a sum may round across the border
    assert ids[:num].tolist() == list(expected)[:num]
    assert probabilities[:num] == pytest.approx(list(expected.values())[:num], rel=1e-3)


@pytest.mark.parametrize("spread", [0.0, 1e-3, 0.5, 2.0])
@pytest.mark.parametrize("values", [{"top_p": 0.9}, {"top_p": 0.3}, {"min_p": 0.01}, {"top_p": 0.95, "min_p": 0.2}])
def test_a_near_flat_draw_takes_what_running_through_all_candidates_takes(spread: float, values: dict[str, Any]):
    """Thousands of candidates are not sorted for one draw; a seed must give the same token all the same."""
    logits = (np.random.default_rng(1).standard_normal(30_011) * spread).astype(np.float32)
    logits[::7] = logits[0]  # many equal ones
    logits[::11] = -np.inf
    options = SamplingOptions(temperature=0.9, **values).rules()
    ids, probabilities = candidates(logits, options)
    ends = np.cumsum(probabilities)
    for number in np.random.default_rng(2).random(20):
        place = int(np.searchsorted(ends, number * ends[-1], side="right"))
        near = ids[max(place - 1, 0) : place + 2].tolist()  # the sums of the two ways round apart at a border
        assert draw(logits, options, float(number)) in near
    assert draw(logits, options, 0.0) == ids[0]
    assert draw(logits, options, float(np.nextafter(1, 0))) in ids[-3:]


@pytest.mark.parametrize(
    ("values", "count"), [({}, 4096), ({"top_k": 64}, 64), ({"min_p": 1.0}, 4096), ({"top_p": 0.5}, 2048)]
)
def test_a_number_where_two_tokens_meet_draws_the_second(values: dict[str, Any], count: int):
    """Each of n equally likely tokens has the numbers from i / n to below (i + 1) / n, whichever way it is found."""
    logits = np.zeros(4096, np.float32)
    logits[::2] = -1e-3  # so hot that this makes no difference but to the order
    order = np.argsort(-logits, kind="stable") if values else np.arange(4096)
    rules = DrawRules(temperature=1e30, **values)
    for place in {0, 1, 2, count // 8 - 1, count // 8, count // 2 - 1, count // 2, count // 2 + 1, count - 1}:
        assert draw(logits, rules, place / count) == order[place]
        assert draw(logits, rules, float(np.nextafter((place + 1) / count, 0))) == order[place]


@pytest.mark.parametrize("num", [1, 7, 50, 1000, 5000, 20_000])
def test_the_likeliest_are_those_of_a_stable_sort(num: int):
    rng = np.random.default_rng(num)
    for logits in (
        rng.standard_normal(9_999).astype(np.float32),
        rng.integers(-3, 3, 9_999).astype(np.float32),  # mostly equal
        np.where(rng.random(9_999) < 0.999, -np.inf, 1.0).astype(np.float32),  # as a constraint leaves them
        np.where(rng.random(9_999) < 0.5, -0.0, 0.0).astype(np.float32),
    ):
        order = np.argsort(-logits, kind="stable")
        expected = [i for i in order[:num] if logits[i] > -np.inf]
        assert likeliest(logits, num).tolist() == expected


@pytest.mark.parametrize("values", [{}, {"top_p": 0.9}, {"top_k": 4}, {"min_p": 0.1}])
def test_draws_come_as_often_as_their_probability(values: dict[str, Any]):
    options = SamplingOptions(temperature=1.0, seed=1, **values)
    sampler, draws = Sampler(options), 1500
    counts = np.bincount([_choose(sampler, LOGITS) for _ in range(draws)], minlength=len(LOGITS))
    expected = _by_definition(LOGITS, options.rules())
    for i, p in expected.items():
        assert counts[i] / draws == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / draws))
    assert counts.sum() == counts[list(expected)].sum()


def test_draws_from_a_whole_vocabulary_reach_every_block():
    """Without cuts the draw goes through blocks; the borders between them must neither lose nor repeat a token."""
    logits = np.full(2000, -np.inf, np.float32)
    possible = [0, 511, 512, 1023, 1024, 1999]
    logits[possible] = 0
    sampler = Sampler(SamplingOptions(temperature=1.0, seed=0))
    counts = np.bincount([_choose(sampler, logits) for _ in range(3000)], minlength=2000)
    assert counts[possible].sum() == 3000
    assert counts[possible].min() > 400


def test_a_seed_makes_draws_reproducible_and_another_changes_them():
    def drawn(seed: int | None) -> list[int]:
        sampler = Sampler(SamplingOptions(temperature=2.0, seed=seed))
        return [_choose(sampler, LOGITS) for _ in range(50)]

    assert drawn(3) == drawn(3)
    assert drawn(3) != drawn(4)
    assert drawn(None) != drawn(None)


def test_a_seed_gives_the_same_draws_on_every_machine():
    """Recorded; a change of generator or of the order of steps would change users' reproducible results."""
    sampler = Sampler(SamplingOptions(temperature=2.0, top_k=5, seed=7))
    assert [_choose(sampler, LOGITS) for _ in range(12)] == [3, 4, 0, 1, 1, 4, 1, 4, 4, 3, 1, 1]


def test_greedy_takes_the_first_of_the_likeliest():
    assert _choose(Sampler(SamplingOptions()), np.array([1, 5, 5, 0], np.float32)) == 1


def test_top_p_keeps_no_more_than_it_must():
    even = np.zeros(4, np.float32)
    ids, _ = candidates(even, DrawRules(temperature=1.0, top_p=0.5))
    assert ids.tolist() == [0, 1]


@pytest.mark.parametrize("values", [{}, {"top_k": 3}, {"top_p": 0.5}])
@pytest.mark.parametrize("temperature", [1e-9, 5e-324])
def test_a_tiny_temperature_is_greedy_without_a_warning(temperature: float, values: dict[str, Any]):
    assert _choose(Sampler(SamplingOptions(temperature=temperature, seed=0, **values)), LOGITS * 1e4) == 1
    even = np.zeros(5000, np.float32)
    even[::2] = -1e4
    assert _choose(Sampler(SamplingOptions(temperature=temperature, seed=0, **values)), even) % 2 == 1


@pytest.mark.parametrize("values", [{}, {"top_k": 3}, {"top_p": 0.99}, {"min_p": 0.1}])
def test_impossible_tokens_are_never_drawn(values: dict[str, Any]):
    logits = np.array([0.0, -np.inf, 0.0, -np.inf], np.float32)
    sampler = Sampler(SamplingOptions(temperature=1.0, seed=0, **values))
    assert {_choose(sampler, logits) for _ in range(100)} == {0, 2}


def test_logits_are_not_modified():
    before = LOGITS.copy()
    options = SamplingOptions(
        temperature=0.7, top_k=2, top_p=0.5, seed=0, logit_bias={1: -5}, repetition_penalty=2.0, logprobs=2
    )
    Sampler(options, prompt_ids=[1, 2]).choose(LOGITS)
    assert np.array_equal(LOGITS, before)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_broken_logits_are_an_error_not_an_answer(bad: float, temperature: float):
    with pytest.raises(EdgeError, match="not numbers"):
        Sampler(SamplingOptions(temperature=temperature)).choose(np.array([0, bad, 1], np.float32))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, True),
        ({"top_k": 3, "top_p": 0.5}, True),
        ({"temperature": 0.1}, False),
        ({"logprobs": 0}, False),
        ({"logit_bias": {1: 1}}, False),
        ({"repetition_penalty": 1.1}, False),
        ({"presence_penalty": 0.1}, False),
    ],
)
def test_the_likeliest_token_is_enough_only_where_nothing_else_decides(options: dict[str, Any], expected: bool):
    """A device that finds it sends nothing else: a penalty would be without effect."""
    assert Sampler(SamplingOptions(**{"temperature": 0.0, **options})).needs_only_best == expected


def test_an_id_in_place_of_logits_is_the_choice():
    sampler = Sampler(SamplingOptions(temperature=0))
    assert sampler.choose(np.int64(7)) == Choice(7, None, ())
    with pytest.raises(EdgeError, match="not numbers"):
        sampler.choose(np.int64(-1))


def test_log_probabilities_are_the_models_own():
    """Neither temperature, cuts, bias nor penalties may colour what is reported."""
    options = SamplingOptions(temperature=0.3, top_k=2, logit_bias={5: 100}, repetition_penalty=1.5, logprobs=3)
    choice = Sampler(options, prompt_ids=[1]).choose(LOGITS)
    exact = LOGITS.astype(np.float64) - math.log(sum(math.exp(x) for x in LOGITS.tolist()))
    assert choice.token_id == 5
    assert choice.logprob == pytest.approx(exact[5], abs=1e-6)
    assert [i for i, _ in choice.top] == [1, 3, 0]
    assert [p for _, p in choice.top] == pytest.approx([exact[1], exact[3], exact[0]], abs=1e-6)


def test_log_probabilities_come_only_when_asked_for():
    assert Sampler(SamplingOptions()).choose(LOGITS) == Choice(1, None, ())
    chosen = Sampler(SamplingOptions(logprobs=0)).choose(LOGITS)
    assert (chosen.logprob is None, chosen.top) == (False, ())
    assert len(Sampler(SamplingOptions(logprobs=99)).choose(LOGITS).top) == len(LOGITS)


@pytest.mark.parametrize("repetition", [1.0, 1.3, 0.8])
@pytest.mark.parametrize(("presence", "frequency"), [(0.0, 0.0), (0.5, 0.0), (0.0, 0.25), (0.5, -0.25)])
@pytest.mark.parametrize("bias", [{}, {3: -100.0, 2: 4.0}])
def test_penalties_follow_their_definition(
    repetition: float, presence: float, frequency: float, bias: dict[int, float]
):
    options = SamplingOptions(
        repetition_penalty=repetition, presence_penalty=presence, frequency_penalty=frequency, logit_bias=bias
    )
    prompt, said = [5, 2, 2, 0], []
    sampler = Sampler(options, prompt_ids=prompt)
    rng = np.random.default_rng(0)
    for _ in range(20):
        logits = rng.standard_normal(6).astype(np.float32)
        scores = [float(x) + bias.get(i, 0.0) for i, x in enumerate(logits)]
        for i in {*prompt, *said}:
            scores[i] = scores[i] * repetition if scores[i] < 0 else scores[i] / repetition
        scores = [x - presence * (i in said) - frequency * said.count(i) for i, x in enumerate(scores)]
        token_id = _choose(sampler, logits)
        assert token_id == max(range(6), key=lambda i, scores=scores: scores[i])  # type: ignore[misc]
        sampler.accept(token_id)
        said.append(token_id)


def test_presence_and_frequency_do_not_count_the_prompt():
    sampler = Sampler(SamplingOptions(presence_penalty=2.0, frequency_penalty=2.0), prompt_ids=[1, 1, 1])
    assert _choose(sampler, LOGITS) == 1
    sampler.accept(1)
    assert _choose(sampler, LOGITS) == 3


def test_a_token_counts_only_once_it_is_accepted():
    """Speculation asks about tokens that it may drop again."""
    sampler = Sampler(SamplingOptions(presence_penalty=2.0))
    assert [_choose(sampler, LOGITS) for _ in range(3)] == [1, 1, 1]


def test_a_bias_for_a_token_that_does_not_exist_is_refused():
    with pytest.raises(ConfigError, match="logit_bias names token 6 but the vocabulary ends at 5"):
        Sampler(SamplingOptions(logit_bias={6: 1.0})).choose(LOGITS)


def test_a_bias_can_be_given_as_a_mapping_or_as_pairs():
    """Options stay hashable and equal, so that they can key a cache."""
    mapping, pairs = SamplingOptions(logit_bias={3: 1, 2: -1}), SamplingOptions(logit_bias=((2, -1.0), (3, 1.0)))
    assert mapping == pairs
    assert hash(mapping) == hash(pairs)


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens is 0"),
        ({"temperature": -1.0}, "temperature is -1"),
        ({"temperature": math.nan}, "temperature is nan"),
        ({"top_k": -1}, "top_k is -1"),
        ({"top_p": 0.0}, "top_p is 0"),
        ({"top_p": 1.1}, "top_p is 1.1"),
        ({"min_p": 1.1}, "min_p is 1.1"),
        ({"repetition_penalty": 0.0}, "repetition_penalty is 0"),
        ({"repetition_penalty": 101}, "repetition_penalty is 101"),
        ({"presence_penalty": 2.1}, "presence_penalty is 2.1"),
        ({"frequency_penalty": -3}, "frequency_penalty is -3"),
        ({"logit_bias": {-1: 0.0}}, "logit_bias has -1"),
        ({"logit_bias": {1: 101.0}}, "logit_bias has 1: 101"),
        ({"logit_bias": {1: math.nan}}, "logit_bias has 1: nan"),
        ({"logit_bias": ((1, 1.0), (1, 2.0))}, "names a token twice"),
        ({"logit_bias": "12"}, "logit_bias is '12'"),
        ({"logit_bias": 7}, "logit_bias is 7"),
        ({"seed": -1}, "seed is -1"),
        ({"stop": "END"}, "stop is 'END'"),
        ({"stop": ("",)}, "stop has ''"),
        ({"stop": (3,)}, "stop has 3"),
        ({"logprobs": -1}, "logprobs is -1"),
        ({"constraint": "a|b"}, "constraint is 'a|b'"),
        ({"speculation": 1}, "speculation is 1"),
    ],
)
def test_options_out_of_range_are_refused_at_once(values: dict[str, Any], match: str):
    with pytest.raises(ConfigError, match=match):
        SamplingOptions(**values)


NUMBERS = [
    "max_new_tokens", "temperature", "top_k", "top_p", "min_p", "repetition_penalty", "presence_penalty",
    "frequency_penalty", "seed", "logprobs",
]  # fmt: skip


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", ["4", True, [1], 1j, float("nan")])
def test_values_of_another_type_are_refused(name: str, value: Any):
    with pytest.raises(ConfigError, match=f"{name} is"):
        SamplingOptions(**{name: value})


def test_numbers_of_numpy_are_numbers():
    assert SamplingOptions(max_new_tokens=np.int64(3), temperature=np.float32(0.5)).max_new_tokens == 3  # type: ignore[arg-type]


def test_a_constraint_is_never_left_out_in_silence():
    with pytest.raises(ConfigError, match="no constraint was made"):
        Sampler(SamplingOptions(constraint=Regex("a")))


def test_a_constraint_that_the_model_gives_no_chance_is_an_error():
    class Only:
        is_done = False

        def mask(self, logits: np.ndarray) -> None:
            logits[[0, 1, 2]] = -np.inf

        def accept(self, token_id: int) -> None: ...

    options = SamplingOptions(constraint=Regex("a"))
    logits = np.array([1, 1, 1, -np.inf], np.float32)
    with pytest.raises(EdgeError, match="no token that the constraint allows"):
        Sampler(options, constraint=Only()).choose(logits)


@pytest.mark.parametrize(
    ("value", "finite"), [(1, True), (0.5, True), (10**400, False), (math.inf, False), (None, False)]
)
def test_what_counts_as_a_finite_number(value: object, finite: bool):
    assert is_finite(value) is finite
