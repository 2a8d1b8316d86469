"""The floor of a decode step: bytes that must be read, counted by hand."""

from __future__ import annotations

import pytest

from edgephi.bundle.bundle import Bundle
from edgephi_bench.measure.condition import Condition
from edgephi_bench.measure.roofline import Roofline, RooflineRound, StepBytes, step_bytes
from support.bundles import small_bundle
from support.sizes import SMALL

SIZES, DECODE = SMALL, Condition(kind="decode")


def test_a_step_reads_every_weight_of_the_decoder_once() -> None:
    s = SIZES
    qkv = (s.heads + 2 * s.kv_heads) * s.head_size
    # Rows of 192 and 256: one block of 256, which takes 136 bytes, or two of 128 with 72 apiece.
    wide, fine = qkv + s.hidden + 2 * s.intermediate, s.hidden
    linears = s.layers * (wide * 136 + fine * 2 * 72) + s.vocab * 2 * 72
    norms = (2 * s.layers + 1) * s.hidden * 4
    read = step_bytes(Bundle(small_bundle(recipe="int4-fast")))
    assert read.weights == linears + norms


def test_an_adapter_that_is_on_is_read_as_well_and_one_that_is_off_is_not() -> None:
    bundle = Bundle(small_bundle())
    off, speech, vision = (step_bytes(bundle, name) for name in ("none", "speech", "vision"))
    assert off.weights < vision.weights < speech.weights  # the speech adapter has the larger rank


def test_a_merged_adapter_costs_a_step_nothing() -> None:
    assert step_bytes(Bundle(small_bundle(adapters="speech"))) == step_bytes(Bundle(small_bundle()))


def test_a_step_counts_weights_adapter_and_every_cached_position() -> None:
    assert StepBytes(weights=1100, kv_per_position=10).at(7.5) == 1175


def test_keys_and_values_grow_with_depth() -> None:
    s = SIZES
    read = step_bytes(Bundle(small_bundle()))
    assert read.at(100) - read.at(0) == 100 * 2 * s.layers * s.kv_heads * s.head_size * 4


def test_an_int8_cache_is_a_quarter_of_the_bytes_and_weights_stay() -> None:
    bundle = Bundle(small_bundle(recipe="int4", kv_cache="int8"))
    floats, small = step_bytes(bundle), step_bytes(bundle, kv_cache="int8")
    assert floats.kv_per_position == 4 * small.kv_per_position
    assert floats.weights == small.weights


def test_each_round_is_held_against_the_memory_of_its_own_second() -> None:
    # The machine was half as fast in two of three rounds, steps and memory alike: that is no fault of the program.
    rounds = tuple(RooflineRound(bandwidth=40e9 / slow, mean_step_s=0.1 * slow) for slow in (2, 1, 2))
    floor = Roofline(mode="text", condition=DECODE, num_bytes=2e9, rounds=rounds, best_bandwidth=40e9, median_s=0.2)
    assert floor.reached == pytest.approx(0.5)
    assert floor.reached_of_best == pytest.approx(0.25)
    assert (floor.bandwidth, floor.floor_s) == (20e9, pytest.approx(0.1))


def test_one_stalled_round_does_not_move_what_was_reached() -> None:
    rounds = tuple(RooflineRound(bandwidth=40e9, mean_step_s=step) for step in (0.1, 5.0, 0.1))
    floor = Roofline(mode="text", condition=DECODE, num_bytes=2e9, rounds=rounds, best_bandwidth=40e9, median_s=0.1)
    assert floor.reached == pytest.approx(0.5)
