"""The figures of a comparison are what their definitions say, computed here in other ways."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgephi_export.fidelity.divergence import divergence
from edgephi_export.fidelity.estimates import mean_of_sums, rate, rate_increase
from edgephi_export.fidelity.replies import common_prefix, is_loop
from edgephi_export.fidelity.text_errors import text_errors

RANDOM = np.random.default_rng(5)


def _logits(rows: int = 4, vocabulary: int = 30) -> np.ndarray:
    return RANDOM.normal(0, 2, (rows, vocabulary)).astype(np.float32)


def test_divergence_is_that_of_the_definition():
    reference, logits = _logits(), _logits()
    found = divergence(reference, logits, [3, 1, 2])
    for row, (one, other) in enumerate(zip(reference.astype(float), logits.astype(float), strict=True)):
        p, q = (np.exp(values) / np.exp(values).sum() for values in (one, other))
        assert found.kl[row] == pytest.approx(sum(a * math.log(a / b) for a, b in zip(p, q, strict=True)), rel=1e-6)
        assert found.agrees[row] == (p.argmax() == q.argmax())
        if row < 3:
            token = (3, 1, 2)[row]
            assert found.reference_surprisal[row] == pytest.approx(-math.log(p[token]))
            assert found.surprisal[row] == pytest.approx(-math.log(q[token]))
    assert len(found.surprisal) == 3


def test_the_same_distribution_diverges_by_nothing_however_large_its_logits_are():
    logits = _logits()
    same = divergence(logits, logits + np.float32(64), [0, 0, 0])
    assert max(same.kl) < 1e-9
    assert all(same.agrees)
    assert max(divergence(logits * 1000, logits * 1000, [0, 0, 0]).kl) == 0


def test_a_logit_that_is_no_number_is_refused():
    logits = _logits()
    logits[1, 2] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        divergence(_logits(), logits, [0, 0, 0])


def test_the_standard_error_counts_examples_and_not_positions():
    """Ten equal positions of an example say no more than one of them."""
    values = RANDOM.normal(3, 1, 40)
    alone = mean_of_sums(values.tolist(), [1] * 40)
    assert alone.value == pytest.approx(values.mean())
    assert alone.error == pytest.approx(values.std(ddof=1) / math.sqrt(40))
    repeated = mean_of_sums((10 * values).tolist(), [10] * 40)
    assert (repeated.value, repeated.error) == (pytest.approx(alone.value), pytest.approx(alone.error))
    assert mean_of_sums([2.0], [4]).error is None


def test_an_interval_holds_the_rate_and_a_paired_one_is_narrower():
    errors = RANDOM.integers(0, 5, 200)
    before, units = np.maximum(errors - RANDOM.integers(0, 2, 200), 0), np.full(200, 6)
    one = rate(errors.tolist(), units.tolist())
    assert one.value == pytest.approx(errors.sum() / units.sum())
    assert one.low < one.value < one.high
    more = rate_increase(errors.tolist(), before.tolist(), units.tolist())
    assert 0 < more.low < more.value < more.high
    assert more.high - more.low < one.high - one.low
    expected = 2 * 1.96 * (errors / 6).std(ddof=1) / math.sqrt(200)
    assert one.high - one.low == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize(
    ("answer", "reply", "measure", "errors"),
    [
        ("turn on the lamp", "turn on the lamp", "wer", (4, 0, 0, 0)),
        ("Turn on, the lamp!", "turn on the LAMP", "wer", (4, 0, 0, 0)),
        ("turn on the lamp", "please turn off the lamp", "wer", (4, 1, 0, 1)),
        ("turn on", "", "wer", (2, 0, 2, 0)),
        ("don\N{RIGHT SINGLE QUOTATION MARK}t go", "don't go", "wer", (2, 0, 0, 0)),
        ("kitchen", "kitten", "cer", (7, 1, 1, 0)),
        ("EXIT", " EXIT\n", "exact", (1, 0, 0, 0)),
        ("EXIT", "exit", "exact", (1, 1, 0, 0)),
    ],
)
def test_errors_are_counted_by_their_kind(answer: str, reply: str, measure, errors: tuple[int, ...]):
    found = text_errors(answer, reply, measure)
    assert (found.units, found.substitutions, found.deletions, found.insertions) == errors


def test_replies_are_compared_from_their_beginning():
    assert common_prefix([1, 2, 3], [1, 2, 4, 5]) == 2
    assert common_prefix([1, 2], [1, 2, 4]) == 2
    assert common_prefix([], [1]) == 0


@pytest.mark.parametrize("period", [1, 2, 5, 64])
def test_a_reply_that_goes_round_is_a_loop(period: int):
    begin, circle = [900, 901, 902], list(range(period))
    assert is_loop(begin + circle * max(3, 12 // period))
    assert not is_loop(begin + circle * max(3, 12 // period) + [700])
    assert not is_loop(begin + circle * 2)
