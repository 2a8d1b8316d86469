"""Sampling must follow its definition and be reproducible."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from edgephi.checks import is_finite
from edgephi.errors import ConfigError, EdgeError
from edgephi.sampling import Sampler, SamplingOptions, candidates

LOGITS = np.array([0.1, 2.0, -1.0, 1.5, 0.1, -3.0], np.float32)


def _by_definition(logits: np.ndarray, options: SamplingOptions) -> dict[int, float]:
    """The distribution written as slowly and plainly as possible."""
    order = sorted(range(len(logits)), key=lambda i: (-logits[i], i))
    if options.top_k:
        order = order[: options.top_k]
    weights = {i: math.exp(float(logits[i]) / options.temperature) for i in order}
    total = sum(weights.values())
    kept: dict[int, float] = {}
    for i in order:
        if sum(kept.values()) >= options.top_p:
            break
        kept[i] = weights[i] / total
    return {i: p / sum(kept.values()) for i, p in kept.items()}


@pytest.mark.parametrize("temperature", [0.2, 1.0, 3.0])
@pytest.mark.parametrize("top_k", [0, 1, 3, 5, 100])
@pytest.mark.parametrize("top_p", [0.05, 0.5, 0.9, 1.0])
def test_the_distribution_is_the_defined_one(temperature: float, top_k: int, top_p: float):
    options = SamplingOptions(temperature=temperature, top_k=top_k, top_p=top_p)
    ids, probabilities = candidates(LOGITS, options)
    expected = _by_definition(LOGITS, options)
    assert dict(zip(ids.tolist(), probabilities.tolist(), strict=True)) == pytest.approx(expected)


def test_draws_come_as_often_as_their_probability():
    options = SamplingOptions(temperature=1.0, seed=1)
    sampler, draws = Sampler(options), 4000
    counts = np.bincount([sampler.pick(LOGITS) for _ in range(draws)], minlength=len(LOGITS))
    for i, p in _by_definition(LOGITS, options).items():
        assert counts[i] / draws == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / draws))


def test_a_seed_makes_draws_reproducible_and_another_changes_them():
    def draw(seed: int) -> list[int]:
        sampler = Sampler(SamplingOptions(temperature=2.0, seed=seed))
        return [sampler.pick(LOGITS) for _ in range(50)]

    assert draw(3) == draw(3)
    assert draw(3) != draw(4)


def test_greedy_takes_the_first_of_the_likeliest():
    assert Sampler(SamplingOptions()).pick(np.array([1, 5, 5, 0], np.float32)) == 1


def test_top_p_keeps_no_more_than_it_must():
    even = np.zeros(4, np.float32)
    ids, _ = candidates(even, SamplingOptions(temperature=1.0, top_p=0.5))
    assert ids.tolist() == [0, 1]


def test_a_tiny_temperature_is_greedy_without_overflow():
    assert Sampler(SamplingOptions(temperature=1e-9, seed=0)).pick(LOGITS * 1e4) == 1


def test_impossible_tokens_are_never_drawn():
    logits = np.array([0.0, -np.inf, 0.0], np.float32)
    sampler = Sampler(SamplingOptions(temperature=1.0, seed=0))
    assert {sampler.pick(logits) for _ in range(100)} == {0, 2}


def test_logits_are_not_modified():
    before = LOGITS.copy()
    Sampler(SamplingOptions(temperature=0.7, top_k=2, top_p=0.5, seed=0)).pick(LOGITS)
    assert np.array_equal(LOGITS, before)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_broken_logits_are_an_error_not_an_answer(bad: float, temperature: float):
    with pytest.raises(EdgeError, match="not numbers"):
        Sampler(SamplingOptions(temperature=temperature)).pick(np.array([0, bad, 1], np.float32))


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens is 0"),
        ({"temperature": -1.0}, "temperature is -1"),
        ({"temperature": math.nan}, "temperature is nan"),
        ({"top_k": -1}, "top_k is -1"),
        ({"top_p": 0.0}, "top_p is 0"),
        ({"top_p": 1.1}, "top_p is 1.1"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_options_out_of_range_are_refused_at_once(values: dict[str, Any], match: str):
    with pytest.raises(ConfigError, match=match):
        SamplingOptions(**values)


@pytest.mark.parametrize("name", ["max_new_tokens", "temperature", "top_k", "top_p", "seed"])
@pytest.mark.parametrize("value", ["4", True, [1], 1j, float("nan")])
def test_values_of_another_type_are_refused(name: str, value: Any):
    with pytest.raises(ConfigError, match=f"{name} is"):
        SamplingOptions(**{name: value})


def test_numbers_of_numpy_are_numbers():
    assert SamplingOptions(max_new_tokens=np.int64(3), temperature=np.float32(0.5)).max_new_tokens == 3  # type: ignore[arg-type]


def test_the_smallest_temperature_makes_no_warnings():
    assert Sampler(SamplingOptions(temperature=5e-324, seed=0)).pick(LOGITS * 1e4) == 1


@pytest.mark.parametrize(
    ("value", "finite"), [(1, True), (0.5, True), (10**400, False), (math.inf, False), (None, False)]
)
def test_what_counts_as_a_finite_number(value: object, finite: bool):
    assert is_finite(value) is finite
