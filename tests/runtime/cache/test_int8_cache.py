"""Keys and values in int8 take a quarter of the memory, and however a sequence is read its logits are the same bits.

Codes and scales fix what a position leaves in the cache, and rows of the int4 recipe do not depend on their neighbours,
so nothing here needs a tolerance, which float caches do.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgephi import ArtifactError, CapacityError, ConfigError, Model, SamplingOptions
from edgephi.bundle.bundle import Bundle
from edgephi.bundle.manifest import Adapter
from edgephi.cache.kv_cache import cache_shape
from edgephi.decoder.decoder import Decoder
from edgephi.decoder.embedding_table import EmbeddingTable
from edgephi.generation.loop import GenerationTask, generate
from edgephi.inspection.footprint import memory_estimates
from edgephi.model_options import ModelOptions
from edgephi.prompt.input_sequence import InputSequence
from edgephi.prompt.tokenizer import Tokenizer
from support.bundles import copy_bundle, described, put, small_bundle
from support.random_values import integers
from support.signals import random_audio, random_image
from support.vocabulary import build_tokenizer

BOUNDARY = 64
IDS = np.array(integers("int8 cache tests", 0, 700, 350))
TOKENIZER = Tokenizer(build_tokenizer().to_str(), "tokenizer.json")
FEW = SamplingOptions(max_new_tokens=8, temperature=0.0)
MEDIA = {"images": [random_image("int8 cache", 130, 90)], "audio": [(random_audio("int8 cache", 1.1, 16000), 16000)]}


def _folder(recipe: str = "int4") -> Path:
    return small_bundle(recipe=recipe, kv_cache="int8")


@functools.cache
def _bundle(boundary: int | None = None) -> Bundle:
    bundle = Bundle(_folder())
    if boundary is not None:
        rope = dataclasses.replace(bundle.manifest.rope, original_max_positions=boundary)
        bundle.manifest = dataclasses.replace(bundle.manifest, rope=rope)
    return bundle


def _decoder(bundle: Bundle | None = None, **options: Any) -> Decoder:
    return Decoder(bundle or _bundle(), ModelOptions(threads=1, kv_cache="int8", **options))


def _sequence(length: int) -> InputSequence:
    return InputSequence(EmbeddingTable(_bundle(), _bundle().manifest.decoder.embedding), IDS[:length], {})


@functools.cache
def _all_rows(length: int, adapter: Adapter = "none", boundary: int | None = None) -> np.ndarray:
    """Logits of every position, read at once."""
    return _decoder(_bundle(boundary), chunk=1024).forward(_sequence(length), adapter=adapter, rows="all").copy()


@pytest.mark.parametrize("adapter", ["none", "vision", "speech"])
@pytest.mark.parametrize("chunk", [1, 7, 64, 256])
def test_chunks_equal_one_shot_to_the_bit(adapter: Adapter, chunk: int):
    """Otherwise the answer to a prompt would depend on how it was cut."""
    found = _decoder(chunk=chunk).forward(_sequence(150), adapter=adapter, rows="all")
    np.testing.assert_array_equal(found, _all_rows(150, adapter))


def test_a_growing_reply_equals_a_fresh_reading_to_the_bit():
    """The cache is moved to a larger buffer on the way."""
    expected, decoder, sequence = _all_rows(600), _decoder(), _sequence(250)
    decoder.forward(sequence, adapter="none")
    for position in range(250, 600):
        sequence.append(int(IDS[position]))
        np.testing.assert_array_equal(decoder.forward(sequence, adapter="none"), expected[position])


def test_rejected_drafts_leave_no_trace():
    expected, decoder, sequence = _all_rows(60), _decoder(), _sequence(30)
    decoder.forward(sequence, adapter="none")
    for length in range(30, 56, 5):
        for wrong in (3, 4, 5, 6):
            sequence.append(wrong)
        decoder.forward(sequence, adapter="none", rows=4)
        decoder.truncate(length)
        sequence.truncate(length)
        for position in range(length, length + 5):
            sequence.append(int(IDS[position]))
        np.testing.assert_array_equal(decoder.forward(sequence, adapter="none", rows=5), expected[length : length + 5])


def test_what_an_earlier_request_read_answers_as_if_it_were_read_again():
    decoder = _decoder()
    decoder.forward(_sequence(120), adapter="none")
    decoder.sequences.trim()
    sequence = InputSequence(_sequence(1)._table, np.concatenate([IDS[:90], IDS[200:220]]), {})
    assert decoder.sequences.begin(sequence, "none") == 90
    found = decoder.forward(sequence, adapter="none").copy()
    fresh = _decoder()
    np.testing.assert_array_equal(found, fresh.forward(sequence, adapter="none"))


@pytest.mark.parametrize("chunk", [10, 512])
def test_a_sequence_that_crosses_the_longrope_boundary_is_read_again(chunk: int):
    decoder, sequence = _decoder(_bundle(BOUNDARY), chunk=chunk), _sequence(BOUNDARY - 3)
    decoder.forward(sequence, adapter="none")
    for length in range(BOUNDARY - 2, BOUNDARY + 6):
        sequence.append(int(IDS[length - 1]))
        found = decoder.forward(sequence, adapter="none")
        np.testing.assert_array_equal(found, _all_rows(length, boundary=BOUNDARY)[-1])
    short = _all_rows(BOUNDARY + 5)[-1]
    assert np.abs(found - short).max() > 0.01 * short.std()  # the border is what made the difference


def _say(decoder: Decoder, ids: np.ndarray, *, draft: bool, **options: Any) -> Any:
    sequence = InputSequence(EmbeddingTable(_bundle(), _bundle().manifest.decoder.embedding), ids, {})
    decoder.sequences.begin(sequence, "none", fresh=True)
    wanted = SamplingOptions(max_new_tokens=60, logprobs=2, speculation=draft, **options)
    task = GenerationTask(sequence=sequence, adapter="none", options=wanted, eos=frozenset(), constraint=None)
    *_, done = generate(decoder, TOKENIZER, task)
    decoder.sequences.trim()
    return done.reply


@pytest.mark.parametrize("options", [{}, {"temperature": 0.3, "seed": 5, "frequency_penalty": -1.0}])
def test_guessing_changes_no_token_and_no_probability_to_the_bit(options: dict[str, Any]):
    """With float caches a near-tie may go the other way; with these a reply is the same in every run."""
    decoder, accepted = _decoder(), 0
    for seed in range(5):
        sentence = integers(f"int8 guesses {seed}", 0, 11, 350)
        ids = np.array(sentence * 3 + sentence[:4])
        plain, drafted = (_say(decoder, ids, draft=draft, **options) for draft in (False, True))
        assert drafted.token_ids == plain.token_ids
        assert [choice.logprob for choice in drafted.logprobs] == [choice.logprob for choice in plain.logprobs]
        accepted += drafted.speculation.accepted
    assert accepted > 8


@pytest.mark.parametrize("recipe", ["fp32", "int4", "int4-fast"])
def test_logits_stay_close_to_those_of_a_float_cache(recipe: str):
    """Ids that no calibration saw, through random weights; 25 dB were found. The nano checkpoint's test is stricter."""
    bundle = Bundle(_folder(recipe))
    sequence = InputSequence(EmbeddingTable(bundle, bundle.manifest.decoder.embedding), IDS[:200], {})
    for adapter in ("none", "vision", "speech"):
        float_, int8 = (
            Decoder(bundle, ModelOptions(threads=1, kv_cache=kind)).forward(sequence, adapter=adapter, rows="all")
            for kind in ("float", "int8")
        )
        assert np.abs(float_ - int8).max() > 0
        noise = ((float_ - int8) ** 2).sum()
        assert 10 * np.log10((float_**2).sum() / noise) > 20


def test_a_position_takes_a_quarter_of_the_memory_everywhere():
    """In the buffers, in what doctor tells, and in the file of a saved prefix."""
    bundle, decoder = _bundle(), _decoder()
    decoder.forward(_sequence(300), adapter="none")
    size = decoder.limit.shape.bytes_per_position
    assert {buffer.dtype for buffer in decoder._cache.buffers.values()} == {np.dtype(np.int8)}
    assert sum(buffer.nbytes for buffer in decoder._cache.buffers.values()) == decoder._cache.capacity * size
    assert 4 * size == cache_shape(bundle.manifest).bytes_per_position
    assert [4 * need.position_bytes for need in memory_estimates(bundle, "int8")] == [
        n.position_bytes for n in memory_estimates(bundle)
    ]


def test_a_full_context_is_stated_in_the_smaller_positions():
    decoder = _decoder(max_context=32)
    with pytest.raises(CapacityError, match=r"needs 40 tokens .* set max_context to 40 \(0\.0 MiB more memory\)"):
        decoder.forward(_sequence(40), adapter="none")
    np.testing.assert_array_equal(decoder.forward(_sequence(32), adapter="none"), _all_rows(32)[-1])


@pytest.mark.parametrize("media", [{}, {"images": MEDIA["images"]}, {"audio": MEDIA["audio"]}, MEDIA])
def test_every_mode_answers_and_the_graph_with_adapters_replaces_the_one_for_text(media: dict[str, Any]):
    with Model.load(_folder(), threads=1, kv_cache="int8") as model:
        text = model.generate("hello", options=FEW)
        assert len(model.generate("hello", options=FEW, **media).token_ids) > 0
        assert model.generate("hello", options=FEW).token_ids == text.token_ids


def test_merged_and_text_only_folders_have_them_too():
    for adapters, media in (("speech", {"audio": MEDIA["audio"]}), ("vision", MEDIA), ("none", {})):
        folder = small_bundle(adapters=adapters, recipe="int4", kv_cache="int8")
        assert Bundle(folder).manifest.decoder.graphs == ("decoder.onnx", "decoder_kv8.onnx")
        with Model.load(folder, threads=1, kv_cache="int8") as model:
            assert len(model.generate("hello", options=FEW, **media).token_ids) > 0


def test_a_saved_prefix_is_for_the_kind_it_was_read_with(tmp_path: Path):
    path = tmp_path / "talk.prefix"
    talk = [{"role": "system", "content": "Be brief. " * 8}, {"role": "user", "content": "hello"}]
    with Model.load(_folder(), threads=1, kv_cache="int8") as model:
        expected = model.generate(talk, options=FEW)
        model.clear_cache()
        positions = model.save_prefix(talk, path)
    assert (
        path.stat().st_size < positions * (8 + cache_shape(_bundle().manifest, kind="int8").bytes_per_position) + 2000
    )
    with Model.load(_folder(), threads=1, kv_cache="int8") as model:
        assert model.load_prefix(path) == positions
        reply = model.generate(talk, options=FEW)
        assert (reply.token_ids, reply.timing.cached_tokens) == (expected.token_ids, positions - 1)
    content = path.read_bytes()
    with Model.load(_folder(), threads=1, kv_cache="float") as model:
        before = model.generate(talk, options=FEW)
        words = r"talk\.prefix: holds keys and values in int8, this model was loaded with them in float32; load it with"
        with pytest.raises(ArtifactError, match=words):
            model.load_prefix(path)
        with pytest.raises(ArtifactError, match=words):
            model.cache_prompt(talk, path)
        again = model.generate(talk, options=FEW)
        assert (again.token_ids, again.timing.cached_tokens > 0) == (before.token_ids, True)
    assert path.read_bytes() == content


def test_a_folder_without_int8_graphs_says_how_to_get_them():
    words = "made without their graphs; export it again with --kv-cache int8, or leave kv_cache at 'auto'"
    for load in (Model.load, lambda path, kv_cache: Decoder(Bundle(path), ModelOptions(kv_cache=kv_cache))):
        with pytest.raises(ConfigError, match=words):
            load(small_bundle(), kv_cache="int8")
    with pytest.raises(ConfigError, match="kv_cache is 'int4'; use 'auto', 'float' or 'int8'"):
        Model.load(_folder(), kv_cache="int4")  # type: ignore[arg-type]


def test_the_same_folder_runs_with_floats_as_if_it_had_nothing_else():
    plain_folder = small_bundle(recipe="int4")
    with Model.load(_folder(), threads=1, kv_cache="float") as both, Model.load(plain_folder, threads=1) as plain:
        ids = [int(token) for token in IDS[:40]]
        np.testing.assert_array_equal(both.logits(ids, rows="all"), plain.logits(ids, rows="all"))


def test_folders_made_before_there_were_int8_caches_still_load(tmp_path: Path):
    folder = copy_bundle(small_bundle(), tmp_path / "m")
    path = folder / "edgephi.json"
    text = json.dumps(described(folder), indent=1)
    assert text.count(',\n  "int8_cache": null') == 1
    path.write_text(text.replace(',\n  "int8_cache": null', ""), encoding="utf-8")
    assert Bundle(folder).manifest == Bundle(small_bundle()).manifest


def test_a_float_graph_under_the_int8_graphs_name_is_refused(tmp_path: Path):
    """ONNX Runtime would write floats over the ends of the codes' buffers."""
    folder = copy_bundle(_folder(), tmp_path / "m")
    put(folder, "decoder_text_kv8.onnx", (folder / "decoder_text.onnx").read_bytes())
    bundle = Bundle(folder)
    with pytest.raises(ArtifactError, match=r"'past_key_values.0.key' is a tensor\(float\), the manifest says int8"):
        Decoder(bundle, ModelOptions(kv_cache="int8"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"text_graph": None}, "must both have a graph for text, or neither"),
        ({"graph": "nothing.onnx"}, "nothing.onnx is used but not listed under files"),
        ({"key_scales": {"shape": (2, 1, 32)}}, r"key_scales is float32 of shape \[2, 1, 32\]; the other sizes need"),
        ({"value_scales": {"dtype": "int8"}}, "value_scales is int8 of shape"),
        ({"value_scales": {"offset": 10**6}}, r"a tensor of shape \(2, 1, 64\) leaves weights/cache_scales.bin"),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(tmp_path: Path, change: dict[str, Any], words: str):
    folder = copy_bundle(_folder(), tmp_path / "m")
    path = folder / "edgephi.json"
    raw = described(folder)
    cache = raw["decoder"]["int8_cache"]
    for key, value in change.items():
        cache[key] = {**cache[key], **value} if isinstance(value, dict) else value
    path.write_text(json.dumps(raw), encoding="utf-8")
    with pytest.raises(ArtifactError, match=words):
        Bundle(folder)
