"""Long prompts take the graph for prefill, over the same cache: the same answers however the work is cut."""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgephi import ConfigError, Model, SamplingOptions
from edgephi.base.cancellation import Stopped
from edgephi.base.errors import CapacityError
from edgephi.base.free_memory import Headroom
from edgephi.base.hardware import Memory
from edgephi.bundle.bundle import Bundle
from edgephi.bundle.manifest import ADAPTER_IDS, Adapter, CacheKind
from edgephi.decoder import prefill_graph, prefill_weights
from edgephi.decoder.crossover import LENGTHS, NEVER, Threshold
from edgephi.decoder.decoder import Decoder
from edgephi.decoder.embedding_table import EmbeddingTable
from edgephi.decoder.forward import DecoderPass
from edgephi.model_options import ModelOptions
from edgephi.ort.memory_check import weight_bytes, work_bytes
from edgephi.prompt.input_sequence import InputSequence
from support.bundles import small_bundle
from support.random_values import integers

BOUNDARY = 64
IDS = np.array(integers("prefill graph tests", 0, 700, 350))
KINDS: tuple[CacheKind, ...] = ("float", "int8")
#: Of float caches, whose attention adds up in another order for other lengths; int8 ones give equal bits.
CLOSE = {"float": 0.05, "int8": 0.0}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def _bundle(kind: CacheKind = "int8", boundary: int | None = None) -> Bundle:
    bundle = Bundle(small_bundle(recipe="int4", kv_cache=kind, prefill="int8"))
    if boundary is not None:
        rope = dataclasses.replace(bundle.manifest.rope, original_max_positions=boundary)
        bundle.manifest = dataclasses.replace(bundle.manifest, rope=rope)
    return bundle


def _decoder(bundle: Bundle, threshold: int | None = 1, **options: Any) -> Decoder:
    return Decoder(bundle, ModelOptions(threads=1, prefill_threshold=threshold, **options))


def _sequence(bundle: Bundle, ids: np.ndarray) -> InputSequence:
    return InputSequence(EmbeddingTable(bundle, bundle.manifest.decoder.embedding), ids, {})


def _logits(bundle: Bundle, length: int, *, adapter: Adapter = "none", rows: int = 3, **options: Any) -> np.ndarray:
    decoder = _decoder(bundle, **options)
    return decoder.forward(_sequence(bundle, IDS[:length]), adapter=adapter, rows=rows).copy()


@pytest.mark.parametrize("adapter", ["none", "vision", "speech"])
@pytest.mark.parametrize("kind", KINDS)
def test_it_gives_nearly_the_logits_of_the_decoders_own_graph(kind: CacheKind, adapter: Adapter):
    """In decibels, beside a decoder in float32: what rounding weights to 7 bits and activations to 8 leaves."""
    bundle = Bundle(small_bundle(recipe="fp32", kv_cache=kind, prefill="int8"))
    own = {name: _logits(bundle, 200, adapter=name, threshold=NEVER) for name in ADAPTER_IDS}
    found = _logits(bundle, 200, adapter=adapter)
    noise = {name: ((logits - found) ** 2).sum() for name, logits in own.items()}
    assert 10 * np.log10((own[adapter] ** 2).sum() / noise.pop(adapter)) > 15
    assert min(noise.values()) > 4 * ((own[adapter] - found) ** 2).sum()
    assert not np.array_equal(own[adapter], found)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("chunk", [1, 7, 64])
def test_chunks_equal_one_shot(kind: CacheKind, chunk: int):
    """Otherwise the answer to a prompt would depend on how it was cut."""
    bundle = _bundle(kind)
    expected, found = _logits(bundle, 150, chunk=1024), _logits(bundle, 150, chunk=chunk)
    assert np.abs(found - expected).max() <= CLOSE[kind] * expected.std()


@pytest.mark.parametrize(
    ("chunk", "stretch", "passes"),
    [(32, 72, [72]), (32, 73, [37, 36]), (32, 150, [50, 50, 50]), (64, 289, [97, 96, 96]), (1, 5, [2, 2, 1])],
)
def test_a_stretch_takes_few_passes_of_one_length(
    chunk: int, stretch: int, passes: list[int], monkeypatch: pytest.MonkeyPatch
):
    """A pass for the few positions that are left over would pack all weights once more: a second of the real model."""
    lengths: list[int] = []
    run = DecoderPass.run

    def noted(step: DecoderPass, embeds: Any, *rest: Any) -> Any:
        lengths.append(embeds.shape[1])
        return run(step, embeds, *rest)

    monkeypatch.setattr(DecoderPass, "run", noted)
    _logits(_bundle(), stretch + 1, rows=1, chunk=chunk)
    assert lengths == [*passes, 1]


def test_a_stretch_below_the_threshold_takes_the_decoders_own_graph():
    bundle = _bundle()
    own = _logits(bundle, 103, threshold=NEVER)
    np.testing.assert_array_equal(_logits(bundle, 103, threshold=101), own)  # 100 positions before the 3 rows
    assert not np.array_equal(_logits(bundle, 103, threshold=100), own)


def test_logits_of_every_position_are_those_of_the_decoders_own_graph():
    bundle = _bundle()
    np.testing.assert_array_equal(_logits(bundle, 90, rows=90), _logits(bundle, 90, rows=90, threshold=NEVER))


def test_a_second_run_gives_the_same_bits_and_the_cache_is_used():
    bundle = _bundle()
    decoder, expected = _decoder(bundle, 50), _logits(bundle, 200, threshold=50)
    for _ in range(2):
        decoder.sequences.begin(_sequence(bundle, IDS[:200]), "none", fresh=True)
        found = decoder.forward(_sequence(bundle, IDS[:200]), adapter="none", rows=3)
        np.testing.assert_array_equal(found, expected)
    decoder.sequences.trim()
    other = np.concatenate([IDS[:120], IDS[300:370]])
    assert decoder.sequences.begin(_sequence(bundle, other), "none") == 120
    found = decoder.forward(_sequence(bundle, other), adapter="none", rows=3)
    fresh = _decoder(bundle, 50).forward(_sequence(bundle, other), adapter="none", rows=3)
    np.testing.assert_array_equal(found, fresh)


def test_after_a_stop_it_goes_on_where_it_was():
    bundle = _bundle()
    decoder, asked = _decoder(bundle, chunk=25), iter([False] * 5 + [True] * 9)
    with pytest.raises(Stopped):
        decoder.forward(_sequence(bundle, IDS[:400]), adapter="none", rows=3, should_stop=lambda: next(asked))
    assert 0 < decoder.num_cached < 397
    found = decoder.forward(_sequence(bundle, IDS[:400]), adapter="none", rows=3)
    np.testing.assert_array_equal(found, _logits(bundle, 400))


def test_crossing_the_longrope_boundary_reads_the_whole_sequence_by_it_again():
    bundle = _bundle(boundary=BOUNDARY)
    decoder, sequence = _decoder(bundle, 20), _sequence(bundle, IDS[: BOUNDARY - 1])
    decoder.forward(sequence, adapter="none")
    for length in range(BOUNDARY, BOUNDARY + 3):
        sequence.append(int(IDS[length - 1]))
        found = decoder.forward(sequence, adapter="none").copy()
    fresh = _decoder(bundle, 20)
    fresh.forward(_sequence(bundle, IDS[: BOUNDARY + 1]), adapter="none")
    np.testing.assert_array_equal(found, fresh.forward(_sequence(bundle, IDS[: BOUNDARY + 2]), adapter="none"))


def _reply(model: Model, *, speculation: bool = False) -> tuple[int, ...]:
    options = SamplingOptions(max_new_tokens=24, temperature=0.0, speculation=speculation)
    return model.generate("one two three " * 30, options=options).token_ids


def test_replies_are_the_same_with_draft_tokens_saved_prefixes_and_after_closing(tmp_path: Path):
    folder, chat = _bundle().path, [{"role": "user", "content": "one two three " * 20}]
    with Model.load(folder, threads=1, prefill_threshold=16) as model:
        expected = _reply(model)
        assert _reply(model, speculation=True) == expected
        model.clear_cache()
        assert model._decoder is not None
        assert model._decoder._prefill.session is None
        assert _reply(model) == expected
        model.clear_cache()
        saved = model.save_prefix(chat, tmp_path / "p")
        continued = _reply(model)
    with Model.load(folder, threads=1, prefill_threshold=16) as model:
        assert model.load_prefix(tmp_path / "p") == saved
        assert _reply(model) == continued


@pytest.mark.parametrize("adapter", ["none", "speech"])
def test_packed_weights_give_the_same_bits(adapter: Adapter):
    """Otherwise an answer would depend on the memory of the device."""
    bundle = _bundle()
    found = _logits(bundle, 120, adapter=adapter, memory_bytes=1 << 40)
    np.testing.assert_array_equal(found, _logits(bundle, 120, adapter=adapter))


def _held(monkeypatch: pytest.MonkeyPatch, held: int) -> None:
    monkeypatch.setattr("edgephi.ort.memory_budget.held_bytes", lambda: held)


def test_weights_are_packed_where_memory_has_room_for_them_and_the_cache(monkeypatch: pytest.MonkeyPatch):
    bundle, cache = _bundle(), 1 << 20
    name = bundle.manifest.decoder.pair("int8").prefill_graph
    assert name is not None
    work = work_bytes(bundle.manifest, 576)
    packed = weight_bytes(bundle, name) + work + cache
    for left, expected in ((packed, "packed"), (packed - 1, "mapped"), (work, "mapped"), (work - 1, None)):
        decoder = _decoder(bundle, memory_bytes=1 << 30, cache_bytes=cache)
        _held(monkeypatch, (1 << 30) - left)
        assert decoder._prefill.open(64) == (expected is not None)
        assert expected is None or decoder._prefill._form == expected
        _held(monkeypatch, 0)


def test_packed_weights_are_given_up_between_requests_when_memory_is_short(monkeypatch: pytest.MonkeyPatch):
    bundle, expected = _bundle(), _logits(_bundle(), 100)
    decoder = _decoder(bundle, memory_bytes=1 << 40)
    for free, is_open in ((1 << 40, True), (1 << 20, False)):
        decoder.sequences.begin(_sequence(bundle, IDS[:100]), "none", fresh=True)
        found = decoder.forward(_sequence(bundle, IDS[:100]), adapter="none", rows=3)
        np.testing.assert_array_equal(found, expected)
        memory = Memory(total_bytes=free, available_bytes=free, limit_bytes=None)
        room = Headroom(memory=memory, swap_bytes=0, address_bytes=None)
        monkeypatch.setattr(prefill_graph, "headroom", lambda room=room: room)
        decoder.rest()
        assert decoder._prefill.is_packed == is_open


def test_without_memory_for_it_prompts_are_read_as_before_and_that_is_logged_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def refuse(*_: object, **__: object) -> None:
        raise CapacityError("takes 3.2 GB of memory but 1 GB is available")

    bundle, decoder = _bundle(), _decoder(_bundle())
    monkeypatch.setattr(prefill_weights, "check_graph_fits", refuse)
    with caplog.at_level(logging.WARNING, "edgephi"):
        for _ in range(2):
            decoder.sequences.begin(_sequence(bundle, IDS[:100]), "none", fresh=True)
            found = decoder.forward(_sequence(bundle, IDS[:100]), adapter="none", rows=3)
            np.testing.assert_array_equal(found, _logits(bundle, 100, threshold=NEVER))
    assert [record.getMessage() for record in caplog.records] == [
        "prompts are read by the decoder's own graph, which is slower: takes 3.2 GB of memory but 1 GB is available"
    ]


def test_the_threshold_is_measured_once_and_kept(monkeypatch: pytest.MonkeyPatch):
    bundle, measured = _bundle(), []

    def measure(passes: Any) -> Threshold:
        measured.append([run(length) for run in passes for length in LENGTHS])
        return Threshold(48, is_steady=True)

    monkeypatch.setattr("edgephi.decoder.decoder.measure", measure)
    expected = _logits(bundle, 300, threshold=48)
    assert np.array_equal(_logits(bundle, 100, threshold=None), _logits(bundle, 100, threshold=NEVER))
    assert measured == []  # too short to be worth a measurement
    np.testing.assert_array_equal(_logits(bundle, 300, threshold=None), expected)
    np.testing.assert_array_equal(_logits(bundle, 300, threshold=None), expected)
    np.testing.assert_array_equal(_logits(bundle, 100, threshold=None), _logits(bundle, 100, threshold=48))
    assert len(measured) == 1


def test_a_real_measurement_gives_a_number_of_positions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("edgephi.decoder.crossover._SPREAD", float("inf"))  # however busy this machine is
    bundle = _bundle()
    _logits(bundle, 300, threshold=None)
    (kept,) = json.loads((tmp_path / "edgephi" / "prefill.json").read_text())["measurements"]
    assert kept["value"] % 16 == 0


@pytest.mark.parametrize("value", [0, 1.5, "6GB"])
def test_a_memory_that_is_no_number_of_bytes_is_refused(value: Any):
    with pytest.raises(ConfigError, match=r"memory_bytes is .*; use 1 or more, or leave it out for no limit"):
        ModelOptions(memory_bytes=value)


@pytest.mark.parametrize("value", [-1, 1.5, "16"])
def test_a_threshold_that_is_no_number_of_positions_is_refused(value: Any):
    with pytest.raises(ConfigError, match=r"prefill_threshold is .*; use 0 or more, or leave it out"):
        ModelOptions(prefill_threshold=value)
