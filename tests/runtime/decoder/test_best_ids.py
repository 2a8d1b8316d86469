"""A graph for GPUs gives the likeliest token in place of logits: greedy replies are the same, and little is fetched."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edgephi import Model, SamplingOptions
from edgephi.bundle.bundle import Bundle
from edgephi.decoder.decoder import Decoder
from edgephi.decoder.embedding_table import EmbeddingTable
from edgephi.model_options import ModelOptions
from edgephi.prompt.input_sequence import InputSequence
from support.bundles import small_bundle
from support.gpu_folders import NANO, gpu_folder, request_of
from support.random_values import integers
from support.tables import ArrayTable

IDS = np.array(integers("best ids", 0, 400, 60))


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return Bundle(small_bundle(recipe="int4-gpu-fp32"))


def _decoder(bundle: Bundle, chunk: int) -> Decoder:
    return Decoder(bundle, ModelOptions(threads=1, chunk=chunk))


def _sequence(bundle: Bundle, length: int) -> InputSequence:
    return InputSequence(EmbeddingTable(bundle, bundle.manifest.decoder.embedding), IDS[:length], {})


@pytest.mark.parametrize("adapter", ["none", "speech"])
@pytest.mark.parametrize(("chunk", "rows"), [(512, 1), (512, 5), (7, 1), (7, 10), (7, 60)])
def test_ids_are_those_of_the_largest_logits(bundle: Bundle, chunk: int, rows: int, adapter: str):
    """Also of rows that several passes share."""
    decoder, sequence = _decoder(bundle, chunk), _sequence(bundle, 60)
    found = decoder.best_ids(sequence, adapter=adapter, rows=rows)  # type: ignore[arg-type]
    assert decoder.finds_best
    assert found.dtype == np.int64
    logits = decoder.forward(sequence, adapter=adapter, rows=rows)  # type: ignore[arg-type]
    assert found.tolist() == logits.argmax(axis=-1).tolist()


def test_logits_and_ids_of_one_shape_are_not_mixed_up(bundle: Bundle):
    """Passes are kept by what they read and give."""
    decoder, sequence = _decoder(bundle, 512), _sequence(bundle, 20)
    for length in range(20, 26):
        ids = decoder.best_ids(sequence, adapter="none")
        logits = decoder.forward(sequence, adapter="none")
        assert logits.shape == (bundle.manifest.decoder.vocab_size,)
        assert ids.tolist() == [int(logits.argmax())]
        sequence.append(int(IDS[length]))


def test_a_folder_for_the_cpu_gives_logits():
    assert not _decoder(Bundle(small_bundle()), 512).finds_best


def test_a_greedy_reply_is_the_same_whether_logits_are_fetched_or_not():
    """Log-probabilities need them."""
    samples = json.loads((NANO / "samples" / "samples.json").read_text(encoding="utf-8"))["samples"]
    request = request_of(next(sample for sample in samples if sample["mode"] == "text"))
    with Model.load(gpu_folder("int4")) as model:
        bare = model.generate(request, options=SamplingOptions.greedy(max_new_tokens=20))
        model.clear_cache()
        full = model.generate(request, options=SamplingOptions.greedy(max_new_tokens=20, logprobs=0))
    assert bare.token_ids == full.token_ids
    assert len(set(bare.token_ids)) > 5


def test_what_is_not_a_number_has_no_likeliest_token(bundle: Bundle):
    """Of broken weights; the sampler makes an error of it."""
    rows = np.full((400, bundle.manifest.decoder.hidden_size), np.nan, np.float32)
    sequence = InputSequence(ArrayTable(rows), IDS[:9], {})
    assert _decoder(bundle, 512).best_ids(sequence, adapter="none", rows=2).tolist() == [-1, -1]
