"""Sampling against Hugging Face's logits processors, live, in the order in which its `generate` applies them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    SequenceBiasLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from edgephi.generation.logits_penalties import Penalties
from edgephi.generation.sampler import SamplingOptions
from edgephi.generation.token_selection import candidates

pytestmark = [pytest.mark.reference, pytest.mark.filterwarnings("default")]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("vocab", [64, 20_000])
@pytest.mark.parametrize(("top_k", "top_p", "min_p"), [(50, 0.9, 0.0), (0, 0.7, 0.02), (20, 1.0, 0.1), (0, 0.95, 0.0)])
def test_the_distribution_is_that_of_the_logits_processors(
    seed: int, vocab: int, top_k: int, top_p: float, min_p: float
):
    """Bias, repetition penalty, temperature, top-k, top-p and min-p together: a wrong order changes the result."""
    rng = np.random.default_rng(seed)
    logits = (rng.standard_normal(vocab) * 3).astype(np.float32)
    prompt = rng.integers(0, vocab, 30)
    bias = {int(i): float(b) for i, b in zip(rng.permutation(vocab)[:8], rng.normal(0, 3, 8), strict=True)}
    options = SamplingOptions(
        temperature=0.7, top_k=top_k, top_p=top_p, min_p=min_p, repetition_penalty=1.3, logit_bias=bias
    )
    processors = LogitsProcessorList(
        [
            SequenceBiasLogitsProcessor([[[i], b] for i, b in bias.items()]),
            RepetitionPenaltyLogitsProcessor(1.3),
            TemperatureLogitsWarper(0.7),
            *([TopKLogitsWarper(top_k)] if top_k else []),
            *([TopPLogitsWarper(top_p)] if top_p < 1 else []),
            *([MinPLogitsWarper(min_p)] if min_p else []),
        ]
    )
    scores = processors(torch.from_numpy(prompt)[None], torch.from_numpy(logits.copy())[None])
    expected = torch.softmax(scores[0].double(), -1).numpy()

    changed = logits.copy()
    Penalties(options, prompt).apply(changed)
    ids, probabilities = candidates(changed, options.rules())
    assert sorted(ids) == np.flatnonzero(expected).tolist()
    assert probabilities == pytest.approx(expected[ids], rel=1e-4)
