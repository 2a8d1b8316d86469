"""The number by which exports are judged must be the textbook's, however the tensor was cut up."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgephi_quantize.sqnr import SqnrMeter
from support.random_values import uniform


def test_noise_of_a_tenth_is_twenty_decibels():
    reference = uniform("reference", 1, (300, 100))
    meter = SqnrMeter()
    meter.add(reference, reference * np.float32(0.9))
    assert meter.decibels == pytest.approx(20.0, abs=1e-5)


def test_pieces_add_up_to_the_whole_whatever_their_size_and_type():
    reference, noise = uniform("reference", 2, (400, 100)), uniform("noise", 2, (400, 100)) * np.float32(0.01)
    stored = (reference + noise).astype(np.float16)
    whole, pieces = SqnrMeter(), SqnrMeter()
    whole.add(reference, stored)
    for start in range(0, 400, 7):
        pieces.add(reference[start : start + 7], stored[start : start + 7])
    difference = reference.astype(np.float64) - stored
    expected = 10 * math.log10((reference.astype(np.float64) ** 2).sum() / (difference**2).sum())
    assert whole.decibels == pytest.approx(expected, rel=1e-12)
    assert pieces.decibels == pytest.approx(expected, rel=1e-12)


def test_equal_and_empty_are_infinitely_good_and_something_for_nothing_infinitely_bad():
    ones, zeros = np.ones(3, np.float32), np.zeros(3, np.float32)
    meter = SqnrMeter()
    assert meter.decibels == math.inf
    meter.add(ones, ones)
    meter.add(zeros, zeros)
    assert meter.decibels == math.inf
    bad = SqnrMeter()
    bad.add(zeros, ones)
    assert bad.decibels == -math.inf


def test_a_damaged_scale_is_infinitely_bad_and_no_error():
    """Of a stored infinity no logarithm can be taken; `verify` must name the tensor all the same."""
    ones = np.ones(3, np.float32)
    infinite, absent = SqnrMeter(), SqnrMeter()
    infinite.add(ones, np.array([1, np.inf, 1], np.float32))
    absent.add(ones, np.array([1, np.nan, 1], np.float32))
    assert infinite.decibels == -math.inf
    assert math.isnan(absent.decibels)


def test_different_shapes_are_refused_and_count_nothing():
    meter = SqnrMeter()
    meter.add(np.ones(4, np.float32), np.full(4, 0.9, np.float32))
    before = meter.decibels
    with pytest.raises(ValueError, match=r"reference \[2, 3\] and stored \[3, 2\] differ in shape"):
        meter.add(np.ones((2, 3), np.float32), np.ones((3, 2), np.float32))
    assert meter.decibels == before
