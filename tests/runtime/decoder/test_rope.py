"""Positions must be the reference's: a wrong angle gives fluent nonsense far into a text."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgephi.bundle.manifest import RopeInfo
from edgephi.decoder.rope import RotaryTables, inverse_frequencies

SHORT, LONG = (1.0, 1.25, 1.5, 2.0), (1.0, 4.0, 16.0, 47.77)
SCALE = math.sqrt(1 + math.log(131072 / 4096) / math.log(4096))
INFO = RopeInfo(
    rotary_dim=8,
    theta=10000.0,
    original_max_positions=4096,
    max_positions=131072,
    short_factor=SHORT,
    long_factor=LONG,
    attention_scale=SCALE,
)


@pytest.mark.parametrize(("total", "factors"), [(1, SHORT), (4096, SHORT), (4097, LONG), (6000, LONG)])
def test_tables_follow_the_papers_formula_on_each_side_of_the_boundary(total: int, factors: tuple[float, ...]):
    tables = RotaryTables(INFO, "float32")
    tables.prepare(total)
    for position in {0, 1, total // 2, total - 1}:
        for i, factor in enumerate(factors):
            angle = position / (factor * 10000.0 ** (2 * i / 8))
            # float32 angles, as in the reference, are exact to half a unit in their last place.
            slack = SCALE * (abs(angle) * 2**-23 + 2e-7)
            assert tables.cos[position, i] == pytest.approx(math.cos(angle) * SCALE, abs=slack)
            assert tables.sin[position, i] == pytest.approx(math.sin(angle) * SCALE, abs=slack)
    assert tables.cos.dtype == tables.sin.dtype == np.float32


@pytest.mark.parametrize("total", [100, 4096, 9000])
def test_a_float16_table_is_the_float32_one_rounded(total: int):
    """Angles computed in float16 would be wrong by whole turns far into a text."""
    exact, half = RotaryTables(INFO, "float32"), RotaryTables(INFO, "float16")
    for tables in (exact, half):
        tables.prepare(total)
    assert half.cos.dtype == half.sin.dtype == np.float16
    assert np.array_equal(half.cos, exact.cos.astype(np.float16))
    assert np.array_equal(half.sin, exact.sin.astype(np.float16))


def test_growing_keeps_earlier_positions_and_says_that_the_arrays_changed():
    tables = RotaryTables(INFO, "float32")
    tables.prepare(100)
    first = tables.cos
    tables.prepare(1000)
    assert tables.cos is first
    tables.prepare(3000)
    assert tables.cos is not first
    assert np.array_equal(tables.cos[: len(first)], first)


def test_the_regime_can_change_back_for_the_next_request():
    tables = RotaryTables(INFO, "float32")
    tables.prepare(4096)
    short = tables.cos.copy()
    tables.prepare(4097)
    assert not np.array_equal(tables.cos[:4096], short)
    tables.prepare(4096)
    assert np.array_equal(tables.cos[:4096], short)


def test_frequencies_are_rounded_like_the_reference():
    """Values printed by transformers 4.57.6 for factor 0.75 of a head of 64, every fourth."""
    frequencies = inverse_frequencies(np.ones(24), 10000.0, 48)
    assert frequencies.dtype == np.float32
    expected = [1.0, 0.2154434472322464, 0.04641588404774666, 0.009999999776482582, 0.002154434332624078]
    assert frequencies[:20:4].tolist() == expected
