"""Exported models against answers recorded from PyTorch transformers: text, sound and images must come out the same.

A user sees a failure here as a model that mishears, misreads or rambles. `make reference` proves the same live.
"""

from __future__ import annotations

import numpy as np
import pytest

from edgephi import SamplingOptions
from edgephi.audio.log_mel import Waveform, log_mel
from edgephi.bundle.bundle import Bundle
from edgephi.decoder.decoder import Decoder
from edgephi.decoder.embedding_table import EmbeddingTable
from edgephi.images.crops import position_ids
from edgephi.model_options import ModelOptions
from edgephi.prompt.input_sequence import InputSequence
from support import golden
from support.bundles import small_bundle
from support.cases import CASES, CASES_BY_NAME, LONG_REPLY_TOKENS, Case, kept_rows, long_prompt, long_prompt_ids
from support.sizes import SMALL

LOGITS = golden.load("logits")
CROSSING = golden.load("crossing")
MEL = golden.load("mel")
SHORT_CASES = [case for case in CASES if len(case.token_ids) < 4000]
TEXT, SPEECH, VISION = (
    [case for case in SHORT_CASES if case.adapter == adapter] for adapter in ("none", "speech", "vision")
)
MERGED = (
    [("none", case) for case in TEXT] + [("speech", case) for case in SPEECH] + [("vision", case) for case in VISION]
)


def by_name(cases):
    return pytest.mark.parametrize("case", cases, ids=[case.name for case in cases])


def last_row_distance(model, case: Case) -> float:
    found = model.logits(list(case.token_ids), **case.media())
    return golden.distance(found, LOGITS[f"{case.name}/last"])


def test_the_recorded_answers_belong_to_these_weights():
    recorded = golden.load("weights")
    wanted = dict(zip(recorded["names"].tolist(), recorded["sums"].tolist(), strict=True))
    assert golden.weight_sums(SMALL, 0) == wanted, "the small checkpoint changed: python tests/reference/record.py"


@by_name(CASES)
def test_next_token_logits_equal_the_reference(models, case):
    assert last_row_distance(models("native"), case) <= golden.TOLERANCE


@by_name(SHORT_CASES)
def test_every_position_equals_the_reference(models, case):
    found = models("native").logits(list(case.token_ids), **case.media(), rows="all")
    assert len(found) == LOGITS[f"{case.name}/count"]  # media became as many rows as the model was trained with
    kept = kept_rows(len(found))
    assert golden.distance(found[kept], LOGITS[f"{case.name}/rows"]) <= golden.TOLERANCE


def test_every_position_of_a_long_text_equals_the_reference(models):
    case = CASES_BY_NAME["text_4200"]
    found = models("native").logits(list(case.token_ids), rows="all")
    assert golden.distance(found[kept_rows(len(found))], LOGITS["text_4200/rows"]) <= golden.TOLERANCE


@by_name(SHORT_CASES)
def test_the_original_layout_gives_the_same_model(models, case):
    assert last_row_distance(models("original"), case) <= golden.TOLERANCE


def test_phi4_mini_gives_the_same_text_model(models):
    for case in TEXT:
        assert last_row_distance(models("phi3"), case) <= golden.TOLERANCE


@pytest.mark.parametrize(("adapters", "case"), MERGED, ids=[case.name for _, case in MERGED])
def test_a_merged_adapter_answers_like_the_routed_one(models, adapters, case):
    found = models("native", adapters).logits(list(case.token_ids), **case.media())
    routed = models("native").logits(list(case.token_ids), **case.media())
    assert golden.distance(found, routed) <= 1e-4
    assert golden.distance(found, LOGITS[f"{case.name}/last"]) <= golden.TOLERANCE


@pytest.mark.parametrize("name", ["speech_16khz", "image_wide_padded", "image_and_audio"])
def test_another_adapter_would_be_noticed(models, name):
    """The failure of runtimes that ignore adapters: each wrong choice must move the answer far beyond the tolerance."""
    case = CASES_BY_NAME[name]
    for adapter in {"none", "speech", "vision"} - {case.adapter}:
        wrong = models("native").logits(list(case.token_ids), **case.media(), adapter=adapter)
        assert golden.distance(wrong, LOGITS[f"{name}/last"]) > 100 * golden.TOLERANCE


def test_generation_across_the_long_context_boundary_equals_a_fresh_read(models):
    options = SamplingOptions(temperature=0.0, max_new_tokens=LONG_REPLY_TOKENS)
    reply = models("native").generate(long_prompt(), options=options)
    assert reply.timing.prompt_tokens == CROSSING["prompt_count"] < 4096 < CROSSING["prompt_count"] + LONG_REPLY_TOKENS
    assert list(reply.token_ids) == CROSSING["reply"].tolist()


def test_each_step_across_the_boundary_has_the_reference_logits():
    """Token by token with the cache; keys rotated for short texts must not survive the border."""
    bundle = Bundle(small_bundle())
    decoder = Decoder(bundle, ModelOptions())
    table = EmbeddingTable(bundle, bundle.manifest.decoder.embedding)
    sequence = InputSequence(table, np.array(long_prompt_ids()), {})
    for wanted, token_id in zip(CROSSING["logits"], CROSSING["reply"], strict=True):
        found = decoder.forward(sequence, adapter="none")
        assert golden.distance(found, wanted) <= golden.TOLERANCE
        sequence.append(int(token_id))


@pytest.mark.parametrize("rate", golden.MEL_RATES_HZ)
def test_log_mel_equals_the_reference_extractor(rate):
    samples, hertz = CASES_BY_NAME[f"speech_{rate // 1000}khz"].load_audio()[0]
    found = log_mel(Waveform(samples, hertz))
    assert len(found) == MEL[f"{rate}/count"]
    difference = np.abs(found[:: golden.MEL_STRIDE] - MEL[f"{rate}/frames"])
    assert difference.max() <= 0.05
    assert difference.mean() <= 1e-3


@pytest.mark.parametrize("side", [4, 12, 32])
def test_tower_positions_equal_the_reference(side):
    wanted = golden.load("positions")[f"P{side}"]
    masks = np.zeros((side, side, side), dtype=np.bool_)
    for k in range(side):
        masks[k, : k + 1, : k + 1] = True
    found = position_ids(masks)
    np.testing.assert_array_equal(found.reshape(side, -1), wanted)
