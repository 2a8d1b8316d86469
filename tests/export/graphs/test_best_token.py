"""The token that a device finds must be the one that the logits say, or greedy replies would be others on a GPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest

from edgephi_export.graphs.best_token import best_token
from edgephi_export.graphs.builder import GraphBuilder


def _best(folder: Path, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ids and sums [B, R] of a graph that does nothing else."""
    graph, dtype = GraphBuilder("best"), ir.DataType.from_numpy(logits.dtype)
    given = graph.input("logits", dtype, ["B", "R", logits.shape[2]])
    graph.output(best_token(graph, given, logits.shape[2]), "best", ir.DataType.FLOAT, ["B", "R", 2])
    graph.save(folder / "best.onnx")
    (found,) = ort.InferenceSession(folder / "best.onnx").run(["best"], {"logits": logits})
    assert (found.shape, found.dtype) == ((*logits.shape[:2], 2), np.float32)
    return found[..., 0], found[..., 1]


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("vocabulary", [1, 7, 400, 1024, 200_064])
def test_the_id_is_that_of_the_largest_logit(tmp_path: Path, vocabulary: int, dtype: str):
    logits = np.random.default_rng(vocabulary).standard_normal((1, 5, vocabulary)).astype(dtype)
    ids, sums = _best(tmp_path, logits)
    assert np.array_equal(ids, logits.argmax(axis=-1))
    np.testing.assert_allclose(sums, logits.sum(axis=-1, dtype=np.float64), rtol=1e-3, atol=1e-2)


def test_of_equal_logits_the_first_is_found(tmp_path: Path):
    logits = np.zeros((1, 3, 400), np.float32)
    logits[0, 1, [77, 78, 399]] = 2
    logits[0, 2] = -5
    assert _best(tmp_path, logits)[0].tolist() == [[0, 77, 0]]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 77, 399])
def test_a_logit_that_is_not_finite_shows_in_the_sum(tmp_path: Path, bad: float, place: int):
    """Its id may be anything, and must not become a reply."""
    logits = np.ones((1, 2, 400), np.float32)
    logits[0, 1, place] = bad
    sums = _best(tmp_path, logits)[1]
    assert np.isfinite(sums).tolist() == [[True, False]]
