"""The KL over a vocabulary must not depend on how the head is cut, nor rounding of inputs on more than the block."""

from __future__ import annotations

import dataclasses

import numpy as np

from edgephi_export.checkpoint.lazy_tensor import LazyTensor
from edgephi_export.fidelity.divergence import divergence
from edgephi_export.sensitivity.head_kl import HeadInput, divergences
from edgephi_export.sensitivity.rounding import rounded_inputs
from edgephi_quantize.formats import BlockFormat, FloatFormat, RowFormat

RNG = np.random.default_rng(3)
HEAD = RNG.standard_normal((300, 32), np.float32)


class _Chunked(LazyTensor):
    """A head that is read 7 rows at a time."""

    def spans(self):  # type: ignore[no-untyped-def]
        return ((start, min(start + 7, 300)) for start in range(0, 300, 7))


def _head() -> LazyTensor:
    whole = LazyTensor(name="h", shape=HEAD.shape, read_rows=lambda start, stop: HEAD[start:stop], source_bytes=0)
    return _Chunked(**{field.name: getattr(whole, field.name) for field in dataclasses.fields(whole)})


def test_it_is_the_kl_of_whole_distributions_whatever_the_size_of_the_logits():
    reference = RNG.standard_normal((9, 32), np.float32) * 8  # logits up to 150: their exp overflows float32
    other = reference + RNG.standard_normal((9, 32), np.float32) * 0.1
    found = divergences(_head(), reference, [HeadInput(rows=other), HeadInput(rows=reference)], _unused, threads=2)
    wanted = divergence(reference @ HEAD.T, other @ HEAD.T, [0] * 8).kl
    np.testing.assert_allclose(found[0], wanted, rtol=1e-3, atol=1e-8)
    assert found[1].max() < 1e-9


def test_the_format_of_the_head_changes_its_weights_and_its_inputs():
    reference, format_ = RNG.standard_normal((4, 32), np.float32), BlockFormat(bits=8, block_size=16)
    given = HeadInput(rows=reference, format=format_)
    found = divergences(_head(), reference, [given], lambda rows, _: rows * np.float32(1.1), threads=1)[0]
    logits = rounded_inputs(reference, format_) @ (HEAD * np.float32(1.1)).T
    np.testing.assert_allclose(found, divergence(reference @ HEAD.T, logits, [0] * 3).kl, rtol=1e-3, atol=1e-8)


def test_inputs_get_a_scale_for_every_block_and_floats_none():
    rows = np.array([[1.0, 0.503, 100.0, 30.4], [0, 0, 0, 1]], np.float32)
    blocks = rounded_inputs(np.tile(rows, (1, 5)), BlockFormat(bits=4, block_size=16))
    np.testing.assert_allclose(blocks[0, :4], np.rint(rows[0] / (100 / 127)) * (100 / 127), rtol=1e-6)
    np.testing.assert_array_equal(blocks[1, :4], rows[1])
    whole = rounded_inputs(np.concatenate([rows, rows * 1000], axis=1), RowFormat())
    assert whole[0, 0] == 0  # an outlier in another block makes its step coarse
    for none in (None, FloatFormat(dtype="float32")):
        assert rounded_inputs(rows, none) is rows


def _unused(rows: np.ndarray, format_: object) -> np.ndarray:
    raise AssertionError("the head is as it is")
