"""Codes chosen by the inputs must give better outputs than codes chosen by the weights alone."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from edgephi.base.errors import ArtifactError
from edgephi_quantize.formats import BlockFormat, parse_format
from edgephi_quantize.input_statistics import InputStatistics, measure, mixed
from edgephi_quantize.low_rank import fit_outputs, solve_low_rank
from edgephi_quantize.methods import METHODS, get_method
from edgephi_quantize.row_weights import measure_with_rare_rows

SIZE, ROWS = 200, 128  # no multiple of the block sizes


def _shrunk(inputs: InputStatistics) -> np.ndarray:
    """float64 [K, K]."""
    return inputs.shrunk_product(np.eye(inputs.size, dtype=np.float32)).astype(np.float64)


def _inputs(seed: int, count: int) -> NDArray[np.float32]:
    """Correlated inputs whose directions fall off as 1 / k, as those of a decoder do; some channels are large."""
    mixing = np.random.default_rng(7)
    directions = mixing.standard_normal((SIZE, SIZE)) / np.arange(1, SIZE + 1)[:, None]
    channels = np.exp(mixing.standard_normal(SIZE) / 2)
    return (np.random.default_rng(seed).standard_normal((count, SIZE)) @ directions * channels).astype(np.float32)


@pytest.fixture(scope="module")
def statistics() -> InputStatistics:
    return measure([_inputs(1, 900), _inputs(2, 300)], threads=1)


@pytest.fixture(scope="module")
def weights() -> NDArray[np.float32]:
    return np.random.default_rng(3).standard_normal((ROWS, SIZE)).astype(np.float32)


def _format(text: str) -> BlockFormat:
    fmt = parse_format(text)
    assert isinstance(fmt, BlockFormat)
    return fmt


def _output_error(weights: NDArray[np.float32], stored: NDArray[np.float32]) -> float:
    """On inputs that were not calibrated with, relative to the outputs, in decibels."""
    held_out = _inputs(9, 500)
    wanted = held_out @ weights.T
    return float(10 * np.log10(((held_out @ (weights - stored).T) ** 2).sum() / (wanted**2).sum()))


@pytest.mark.parametrize("text", ["int4:32", "int4:128", "int4:64:symmetric", "int2:32", "int2:128"])
def test_every_method_beats_the_one_before_on_correlated_inputs(
    statistics: InputStatistics, weights: NDArray[np.float32], text: str
):
    fmt = _format(text)
    errors = {
        name: _output_error(weights, method.quantize(weights, fmt, statistics).values(SIZE))
        for name, method in METHODS.items()
    }
    assert errors["weighted"] < min(errors["search"], errors["rtn"])
    assert errors["gptq"] < errors["weighted"] - 2


def test_outputs_of_inputs_that_calibration_did_not_see_keep_their_size_at_2_bits(
    statistics: InputStatistics, weights: NDArray[np.float32]
):
    """Nano lost its tool calls: the token that opens one came out half as large as the others, and was taken for one.

    A measure of the size: the share of the wanted output in the output.
    """
    unseen = np.random.default_rng(8).standard_normal((300, SIZE)).astype(np.float32)
    wanted = unseen @ weights.T

    def size(name: str) -> float:
        stored = get_method(name).quantize(weights, _format("int2:128"), statistics).values(SIZE)
        return float((wanted * (unseen @ stored.T)).sum() / (wanted**2).sum())

    assert size("gptq") > 0.9
    assert size("weighted") < 0.88


def test_gptq_at_coarse_blocks_beats_rounding_at_fine_ones(statistics: InputStatistics, weights: NDArray[np.float32]):
    """A quarter of the scales, and still less error: what makes 4.16 bits a weight worth having instead of 5."""
    coarse = get_method("gptq").quantize(weights, _format("int4:128"), statistics)
    fine = get_method("rtn").quantize(weights, _format("int4:32"))
    assert _output_error(weights, coarse.values(SIZE)) < _output_error(weights, fine.values(SIZE)) - 2


@pytest.mark.parametrize("name", ["weighted", "gptq"])
@pytest.mark.parametrize("text", ["int4:32", "int8:32", "int4:128:symmetric", "int2:64"])
def test_codes_are_within_their_bits_and_places_past_the_inputs_hold_0(
    statistics: InputStatistics, weights: NDArray[np.float32], name: str, text: str
):
    fmt = _format(text)
    found = get_method(name).quantize(weights * np.float32(1e-30), fmt, statistics)
    assert found.codes.shape == (ROWS, fmt.num_blocks(SIZE), fmt.block_size)
    assert found.codes.max() <= fmt.max_code
    assert not found.codes.reshape(ROWS, -1)[:, SIZE:].any()
    if fmt.symmetric:
        assert (found.zero_points == 1 << (fmt.bits - 1)).all()


def test_gptq_on_independent_inputs_is_rounding_to_the_same_scales(weights: NDArray[np.float32]):
    """Nothing can be spread where no input says anything about another."""
    white = InputStatistics(covariances=(np.eye(SIZE, dtype=np.float32),), num_rows=1)
    fmt = _format("int4:32")
    spread, searched = (get_method(name).quantize(weights, fmt, white) for name in ("gptq", "weighted"))
    np.testing.assert_array_equal(spread.scales, searched.scales)
    assert (spread.codes != searched.codes).mean() < 1e-3  # half steps


def test_errors_reach_inputs_however_far_behind_they_are(
    statistics: InputStatistics, weights: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
):
    """They are spread some inputs at a time; how many must not matter but for rounding."""
    whole, parts = [], []
    for span, found in ((SIZE, whole), (16, parts)):
        monkeypatch.setattr("edgephi_quantize.gptq._SPAN", span)
        found.append(get_method("gptq").quantize(weights, _format("int4:32"), statistics).codes)
    assert (whole[0] != parts[0]).mean() < 0.01


def test_inputs_that_are_always_zero_cost_nothing(weights: NDArray[np.float32]):
    inputs = _inputs(1, 400)
    inputs[:, ::3] = 0
    statistics = measure([inputs], threads=1)
    found = get_method("gptq").quantize(weights, _format("int4:32"), statistics).values(SIZE)
    assert np.isfinite(found).all()
    still = measure([np.zeros((4, SIZE), np.float32)], threads=1)
    assert np.isfinite(get_method("gptq").quantize(weights, _format("int4:32"), still).values(SIZE)).all()


def test_a_weight_that_is_no_number_and_inputs_that_do_not_fit_are_refused(statistics: InputStatistics):
    broken = np.full((2, SIZE), np.nan, np.float32)
    with pytest.raises(ArtifactError, match="not a number"):
        get_method("gptq").quantize(broken, _format("int4:32"), statistics)
    for name in ("weighted", "gptq"):
        with pytest.raises(ValueError, match="there are none"):
            get_method(name).quantize(np.zeros((2, SIZE), np.float32), _format("int4:32"))
        with pytest.raises(ValueError, match=r"must be \[N, 200\]"):
            get_method(name).quantize(np.zeros((2, 8), np.float32), _format("int4:32"), statistics)


def test_statistics_do_not_depend_on_threads_and_the_factor_is_that_of_the_inverse(
    statistics: InputStatistics, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("edgephi_quantize.input_statistics._TILE", 64)
    monkeypatch.setattr("edgephi_quantize.triangular._TILE", 64)
    monkeypatch.setattr("edgephi_quantize.triangular._LEAF", 16)
    one, three = (measure([_inputs(1, 900), _inputs(2, 300)], threads=threads) for threads in (1, 3))
    np.testing.assert_array_equal(one.rows(), three.rows())
    np.testing.assert_allclose(one.rows(), statistics.rows(), rtol=1e-4, atol=1e-6)
    order, factor = one.order, one.factor.astype(np.float64)
    assert not np.tril(factor, -1).any()
    identity = factor.T @ factor @ (one.rows() + one.damping * np.eye(len(order)))[np.ix_(order, order)]
    np.testing.assert_allclose(identity, np.eye(SIZE), atol=1e-3)


def test_each_kind_of_request_counts_the_same_however_long_it_is_and_however_large_its_inputs():
    text, audio = (measure([_inputs(1, 900)], threads=1), measure([_inputs(2, 30) * np.float32(50)], threads=1))
    both = mixed([text, audio]).rows()
    shares = [part.rows() / np.diagonal(part.rows()).mean() for part in (text, audio)]
    np.testing.assert_allclose(both, (shares[0] + shares[1]) / 2, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(mixed([text]).rows(), text.rows())
    with pytest.raises(ValueError, match="same number"):
        mixed([text, InputStatistics(covariances=(np.eye(3, dtype=np.float32),), num_rows=1)])
    with pytest.raises(ValueError, match="no rows"):
        measure([], threads=1)


class TestRareRows:
    """At 2 bits, a token that is rare must not pay for all the others: the one that opens a tool call did."""

    @staticmethod
    def _rows() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Rows that lie in a few directions, and one that lies in another."""
        random = np.random.default_rng(4)
        common = random.standard_normal((2400, 24)) @ random.standard_normal((24, SIZE))
        rare = random.standard_normal((1, SIZE)) * 5
        return common.astype(np.float32), rare.astype(np.float32)

    def test_their_error_is_smaller_and_that_of_the_others_hardly_larger(self, weights: NDArray[np.float32]):
        common, rare = self._rows()
        sequences, errors = [common, rare], {}
        for name, measured in (
            ("plain", measure(sequences, threads=1)),
            ("weighted", measure_with_rare_rows(sequences, threads=1)[0]),
        ):
            error = weights - get_method("gptq").quantize(weights, _format("int2:128"), measured).values(SIZE)
            errors[name] = [
                float(np.linalg.norm(rows @ error.T) / np.linalg.norm(rows @ weights.T)) for rows in (rare, common)
            ]
        assert errors["weighted"][0] < 0.8 * errors["plain"][0]
        assert errors["weighted"][1] < 1.1 * errors["plain"][1]

    def test_rows_count_by_the_roots_of_their_leverages_and_threads_change_nothing(self):
        common, rare = self._rows()
        one, three = (measure_with_rare_rows([common, rare], threads=threads)[0] for threads in (1, 3))
        np.testing.assert_array_equal(one.rows(), three.rows())
        rows = np.concatenate([common, rare])
        inverse = np.linalg.inv(_shrunk(measure([rows], threads=1)))
        roots = np.sqrt(np.einsum("sk,sk->s", rows @ inverse, rows))
        direction = inverse @ rare[0]  # in which the other rows have next to nothing
        found = float(direction @ one.rows() @ direction) / float(direction @ rare[0]) ** 2 * len(rows)
        assert found == pytest.approx(roots[-1] / roots.mean(), rel=0.2)
        assert found > 3

    def test_inputs_that_are_always_zero_count_once(self):
        still = measure_with_rare_rows([np.zeros((4, SIZE), np.float32)], threads=1)[0]
        assert not still.rows().any()


class TestLowRank:
    """The correction must reach the optimum that numpy's decomposition names."""

    @staticmethod
    def _objective(statistics: InputStatistics, target: NDArray[np.float32], product: NDArray[np.float32]) -> float:
        root = np.linalg.cholesky(_shrunk(statistics))
        return float(np.linalg.norm((target - product) @ root))

    @pytest.mark.parametrize("exact_rows", [10_000, 0])
    def test_it_is_the_optimum_and_never_worse_than_the_adapter_that_was_there(
        self,
        statistics: InputStatistics,
        weights: NDArray[np.float32],
        exact_rows: int,
        monkeypatch: pytest.MonkeyPatch,
    ):
        monkeypatch.setattr("edgephi_quantize.low_rank._EXACT_ROWS", exact_rows)
        random = np.random.default_rng(5)
        a, b = (random.standard_normal(shape).astype(np.float32) for shape in ((8, SIZE), (ROWS, 8)))
        stored = get_method("rtn").quantize(weights, _format("int2:64")).values(SIZE)
        target = weights - stored + b @ a
        found = solve_low_rank(target, statistics, 8)
        root = np.linalg.cholesky(_shrunk(statistics))
        optimum = np.sqrt((np.linalg.svd(target @ root, compute_uv=False)[8:] ** 2).sum())
        reached = self._objective(statistics, target, found.b @ found.a)
        assert reached == pytest.approx(optimum, rel=1e-2)
        assert reached < self._objective(statistics, target, b @ a)

    def test_outputs_fitted_to_rounded_inputs_win_back_a_part_of_the_rounding(
        self, statistics: InputStatistics, weights: NDArray[np.float32]
    ):
        found = solve_low_rank(weights, statistics, 8)
        rounded = get_method("rtn").quantize(found.a, _format("int4:32")).values(SIZE)
        before = self._objective(statistics, weights, found.b @ rounded)
        after = self._objective(statistics, weights, fit_outputs(weights, rounded, statistics) @ rounded)
        assert after < before

    def test_it_does_not_depend_on_threads_and_a_rank_is_at_most_the_matrix(
        self, statistics: InputStatistics, weights: NDArray[np.float32]
    ):
        one, three = (solve_low_rank(weights, statistics, 4, threads=threads) for threads in (1, 3))
        np.testing.assert_array_equal(one.a, three.a)
        np.testing.assert_array_equal(one.b, three.b)
        assert solve_low_rank(weights, statistics, 1000).a.shape == (ROWS, SIZE)
        with pytest.raises(ValueError, match="rank 0"):
            solve_low_rank(weights, statistics, 0)
