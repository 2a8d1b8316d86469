"""However a sequence is cut into passes, the logits must be those of one reading."""

from __future__ import annotations

import copy
import dataclasses
import gc
import weakref
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edgephi.base.cancellation import Stopped
from edgephi.base.errors import ArtifactError, CapacityError, ConfigError, EdgeError
from edgephi.bundle.bundle import Bundle
from edgephi.decoder.decoder import Decoder
from edgephi.decoder.embedding_table import EmbeddingTable
from edgephi.decoder.forward import PassShape
from edgephi.model_options import ModelOptions
from edgephi.prompt.input_sequence import InputSequence
from support.bundles import copy_bundle, put, small_bundle
from support.random_values import integers

REAL_BOUNDARY = 4096  # original_max_positions of the small checkpoint
BOUNDARY = 64  # the same, in the manifest of most tests here
IDS = np.array(integers("decoder tests", 0, REAL_BOUNDARY + 40, 350))
# Float32 key/value caches move a logit by some 1e-6 when rows are computed one by one instead of together.
CLOSE = 2e-5


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return Bundle(small_bundle())


@pytest.fixture(scope="module")
def fresh(bundle: Bundle) -> Decoder:
    """Reads every sequence at once."""
    return Decoder(bundle, ModelOptions(threads=1, chunk=2 * REAL_BOUNDARY))


@pytest.fixture(scope="module")
def low(bundle: Bundle) -> Bundle:
    """The bundle with LongRoPE's border at 64 positions, where crossing it is cheap."""
    lowered = Bundle(bundle.path)
    rope = dataclasses.replace(bundle.manifest.rope, original_max_positions=BOUNDARY)
    lowered.manifest = dataclasses.replace(bundle.manifest, rope=rope)
    return lowered


@pytest.fixture(scope="module")
def fresh_low(low: Bundle) -> Decoder:
    return Decoder(low, ModelOptions(threads=1, chunk=2 * REAL_BOUNDARY))


def _decoder(bundle: Bundle, chunk: int = 512, max_context: int | None = None) -> Decoder:
    return Decoder(bundle, ModelOptions(threads=1, chunk=chunk, max_context=max_context))


def _sequence(bundle: Bundle, length: int) -> InputSequence:
    return InputSequence(EmbeddingTable(bundle, bundle.manifest.decoder.embedding), IDS[:length], {})


def _at_once(fresh: Decoder, bundle: Bundle, length: int, adapter: str = "none") -> np.ndarray:
    fresh.sequences.clear()
    logits = fresh.forward(_sequence(bundle, length), adapter=adapter)  # type: ignore[arg-type]
    return logits.copy()


@pytest.mark.parametrize("chunk", [1, 7, 64, 99, 100, 101])
def test_chunks_equal_one_shot(bundle: Bundle, fresh: Decoder, chunk: int):
    fresh.sequences.clear()
    expected = fresh.forward(_sequence(bundle, 100), adapter="speech", rows="all")
    actual = _decoder(bundle, chunk).forward(_sequence(bundle, 100), adapter="speech", rows="all")
    assert actual.shape == (100, bundle.manifest.decoder.vocab_size)
    np.testing.assert_allclose(actual, expected, atol=CLOSE)


def test_the_last_row_equals_the_last_of_all_rows(bundle: Bundle, fresh: Decoder):
    every = _decoder(bundle).forward(_sequence(bundle, 50), adapter="vision", rows="all")
    np.testing.assert_allclose(_at_once(fresh, bundle, 50, "vision"), every[-1], atol=CLOSE)


def test_token_by_token_equals_a_fresh_reading_while_the_cache_grows(bundle: Bundle, fresh: Decoder):
    fresh.sequences.clear()
    expected = fresh.forward(_sequence(bundle, 600), adapter="none", rows="all")
    decoder, sequence = _decoder(bundle), _sequence(bundle, 200)
    decoder.forward(sequence, adapter="none")
    for position in range(200, 600):  # the cache starts at 256 positions and grows twice
        sequence.append(int(IDS[position]))
        logits = decoder.forward(sequence, adapter="none")
        np.testing.assert_allclose(logits, expected[position], atol=CLOSE)


def test_memory_that_was_outgrown_is_freed(low: Bundle):
    """A long prompt's chunks are read once; what they were bound to must not live as long as the model."""
    decoder, sequence = _decoder(low, chunk=16), _sequence(low, 32)
    decoder.forward(sequence, adapter="none")
    outgrown = [weakref.ref(decoder._rope.cos), *map(weakref.ref, decoder._cache.buffers.values())]
    for position in range(32, 300):
        sequence.append(int(IDS[position]))
        decoder.forward(sequence, adapter="none")
    gc.collect()
    assert not any(ref() is not None for ref in outgrown)


def test_only_passes_that_come_again_are_kept(bundle: Bundle):
    """A step, a full chunk, and the widths of speculation; logits of a whole prompt would be held for ever."""
    decoder = _decoder(bundle, chunk=30)
    decoder.forward(_sequence(bundle, 60), adapter="none", rows="all")
    assert not decoder._passes
    decoder.sequences.clear()
    decoder.forward(_sequence(bundle, 81), adapter="none")
    assert _kept(decoder) == [(30, 1)]
    for length, rows in ((82, 1), (86, 4), (90, 4), (91, 1), (94, 3)):
        decoder.forward(_sequence(bundle, length), adapter="none", rows=rows)
    assert _kept(decoder) == [(1, 1), (3, 3), (4, 4), (30, 1)]


def _kept(decoder: Decoder) -> list[tuple[int, int]]:
    return sorted((shape.num_new, shape.num_rows) for shape in decoder._passes)


def test_a_failure_of_the_library_is_one_line(bundle: Bundle):
    decoder = _decoder(bundle)
    session = decoder._graph.session
    decoder._graph.session = SimpleNamespace(io_binding=session.io_binding, run_with_iobinding=_fail)
    with pytest.raises(EdgeError, match=r"^ONNX Runtime failed in the decoder at 5 tokens \(first line\)$"):
        decoder.forward(_sequence(bundle, 5), adapter="none")


def _fail(*_: object) -> None:
    raise RuntimeError("first line\nsecond line")


@pytest.mark.parametrize("size", ["num_kv_heads", "head_size", "vocab_size", "hidden_size"])
def test_a_graph_of_other_sizes_than_the_manifests_is_refused(bundle: Bundle, size: str):
    other = Bundle(bundle.path)
    info = bundle.manifest.decoder
    changed = copy.copy(info)
    object.__setattr__(changed, size, getattr(info, size) * 2)
    other.manifest = copy.copy(bundle.manifest)
    object.__setattr__(other.manifest, "decoder", changed)
    with pytest.raises(ArtifactError, match=r"decoder_text.onnx: '.*' has shape .*, the manifest says"):
        _decoder(other)


def test_crossing_the_longrope_boundary_equals_a_fresh_reading_with_long_factors(low: Bundle, fresh_low: Decoder):
    decoder, sequence = _decoder(low, chunk=10), _sequence(low, BOUNDARY - 3)
    decoder.forward(sequence, adapter="none")
    for length in range(BOUNDARY - 2, BOUNDARY + 8):
        sequence.append(int(IDS[length - 1]))
        logits = decoder.forward(sequence, adapter="none")
        np.testing.assert_allclose(logits, _at_once(fresh_low, low, length), atol=CLOSE)


def test_the_boundary_of_the_checkpoint_is_crossed_in_decoding(bundle: Bundle, fresh: Decoder):
    decoder, sequence = _decoder(bundle), _sequence(bundle, REAL_BOUNDARY)
    decoder.forward(sequence, adapter="none")
    sequence.append(int(IDS[REAL_BOUNDARY]))
    logits = decoder.forward(sequence, adapter="none")
    np.testing.assert_allclose(logits, _at_once(fresh, bundle, REAL_BOUNDARY + 1), atol=CLOSE)


@pytest.mark.parametrize("chunk", [5, 63, 64, 65])
def test_a_prompt_longer_than_the_boundary_uses_long_factors_from_its_first_chunk(
    low: Bundle, fresh_low: Decoder, chunk: int
):
    for length in (BOUNDARY, BOUNDARY + 1, BOUNDARY + 30):
        logits = _decoder(low, chunk).forward(_sequence(low, length), adapter="none")
        np.testing.assert_allclose(logits, _at_once(fresh_low, low, length), atol=CLOSE)


def test_short_and_long_factors_differ(bundle: Bundle, low: Bundle, fresh: Decoder, fresh_low: Decoder):
    # Otherwise the three tests above would prove nothing.
    difference = np.abs(_at_once(fresh, bundle, BOUNDARY + 9) - _at_once(fresh_low, low, BOUNDARY + 9)).max()
    assert difference > 100 * CLOSE


def test_the_next_request_owes_nothing_to_the_one_before(low: Bundle, fresh_low: Decoder):
    decoder = _decoder(low)
    decoder.forward(_sequence(low, BOUNDARY + 10), adapter="speech")
    decoder.sequences.clear()
    logits = decoder.forward(_sequence(low, 30), adapter="none")
    np.testing.assert_allclose(logits, _at_once(fresh_low, low, 30), atol=CLOSE)


def test_bindings_outlive_a_request_but_not_the_buffers_they_are_bound_to(bundle: Bundle):
    """A short request should not bind again; after a long one its memory must be given back."""
    decoder = _decoder(bundle)
    decoder.forward(_sequence(bundle, 1), adapter="none")
    kept = decoder._passes[PassShape(1, 1)]
    decoder.truncate(0)
    expected = decoder.forward(_sequence(bundle, 1), adapter="none").copy()
    assert decoder._passes[PassShape(1, 1)] is kept
    decoder.forward(_sequence(bundle, REAL_BOUNDARY + 40), adapter="none")
    long = [weakref.ref(buffer) for buffer in decoder._cache.buffers.values()]
    decoder.sequences.budget_bytes = 256 * decoder.limit.shape.bytes_per_position
    decoder.sequences.trim()
    decoder.truncate(0)
    gc.collect()
    assert not any(ref() is not None for ref in long)
    np.testing.assert_allclose(decoder.forward(_sequence(bundle, 1), adapter="none"), expected, atol=CLOSE)


@pytest.mark.parametrize("chunk", [7, 64])
def test_float16_chunks_equal_one_shot(chunk: int):
    half = Bundle(small_bundle(recipe="fp16"))
    expected = _decoder(half).forward(_sequence(half, 100), adapter="speech", rows="all")
    decoder = _decoder(half, chunk)
    assert {buffer.dtype for buffer in decoder._cache.buffers.values()} == {np.dtype(np.float16)}
    actual = decoder.forward(_sequence(half, 100), adapter="speech", rows="all")
    np.testing.assert_allclose(actual, expected, atol=0.01 * expected.std())


@pytest.mark.parametrize("chunk", [3, 7, 512])
@pytest.mark.parametrize("rows", [1, 2, 5, 16, 40])
def test_logits_of_the_last_rows_are_those_of_all(bundle: Bundle, fresh: Decoder, chunk: int, rows: int):
    """What speculation verifies proposals by, wherever the chunks end."""
    fresh.sequences.clear()
    expected = fresh.forward(_sequence(bundle, 60), adapter="none", rows="all")
    decoder = _decoder(bundle, chunk)
    decoder.forward(_sequence(bundle, 25), adapter="none")
    found = decoder.forward(_sequence(bundle, 60), adapter="none", rows=rows)
    assert found.shape == (rows, bundle.manifest.decoder.vocab_size)
    np.testing.assert_allclose(found, expected[-rows:], atol=CLOSE)
    assert decoder.num_cached == 60


def test_a_verification_is_one_pass_over_the_new_positions(bundle: Bundle, monkeypatch: pytest.MonkeyPatch):
    decoder, widths = _decoder(bundle), []
    decoder.forward(_sequence(bundle, 20), adapter="none")
    run = decoder._run
    monkeypatch.setattr(
        decoder,
        "_run",
        lambda embeds, *a: (widths.append((embeds.shape[1], a[1].num_rows)), run(embeds, *a))[1],
    )
    decoder.forward(_sequence(bundle, 25), adapter="none", rows=5)
    decoder.forward(_sequence(bundle, 25), adapter="none")  # known already: its last position is read again
    decoder.forward(_sequence(bundle, 27), adapter="none", rows=4)
    assert widths == [(5, 5), (1, 1), (4, 4)]


def test_rejected_drafts_leave_no_trace(bundle: Bundle, fresh: Decoder):
    fresh.sequences.clear()
    expected = fresh.forward(_sequence(bundle, 60), adapter="none", rows="all")
    decoder, sequence = _decoder(bundle), _sequence(bundle, 30)
    decoder.forward(sequence, adapter="none")
    for length in range(30, 56, 5):
        for wrong in (3, 4, 5, 6):
            sequence.append(wrong)
        decoder.forward(sequence, adapter="none", rows=4)
        decoder.truncate(length)
        sequence.truncate(length)
        assert decoder.num_cached == length
        for position in range(length, length + 5):
            sequence.append(int(IDS[position]))
        np.testing.assert_allclose(
            decoder.forward(sequence, adapter="none", rows=5), expected[length : length + 5], atol=CLOSE
        )


def test_nothing_can_be_rewound_that_was_not_read(bundle: Bundle):
    decoder = _decoder(bundle)
    decoder.forward(_sequence(bundle, 5), adapter="none")
    with pytest.raises(ValueError, match="cannot truncate to 6: 5 tokens are filled"):
        decoder.truncate(6)
    with pytest.raises(ValueError, match="logits of 9 rows were asked for; the sequence has 7"):
        decoder.forward(_sequence(bundle, 7), adapter="none", rows=9)
    assert decoder.num_cached == 5


@pytest.mark.parametrize("back", [BOUNDARY - 10, BOUNDARY, BOUNDARY + 2])
def test_rewinding_across_the_longrope_boundary_reads_again_as_a_fresh_start_would(
    low: Bundle, fresh_low: Decoder, back: int
):
    decoder = _decoder(low, chunk=10)
    decoder.forward(_sequence(low, BOUNDARY + 5), adapter="none")
    decoder.truncate(back)
    for length in (back + 1, back + 3):
        logits = decoder.forward(_sequence(low, length), adapter="none")
        np.testing.assert_allclose(logits, _at_once(fresh_low, low, length), atol=CLOSE)


def test_the_reach_of_a_sequence_ends_at_the_boundary_and_at_the_context(low: Bundle):
    """A verification beyond it would read again what the accepted tokens were chosen by."""
    decoder = _decoder(low, max_context=100)
    assert [decoder.limit.reach(total) for total in (1, BOUNDARY, BOUNDARY + 1, 100)] == [BOUNDARY, BOUNDARY, 100, 100]


def test_each_adapter_answers_differently(bundle: Bundle, fresh: Decoder):
    none, vision, speech = (_at_once(fresh, bundle, 20, adapter) for adapter in ("none", "vision", "speech"))
    for one, other in ((none, vision), (none, speech), (vision, speech)):
        assert np.abs(one - other).max() > 0.01 * none.std()


def test_one_sequence_keeps_one_adapter(bundle: Bundle):
    decoder, sequence = _decoder(bundle), _sequence(bundle, 5)
    decoder.forward(sequence, adapter="speech")
    sequence.append(1)
    with pytest.raises(ValueError, match="filled with adapter 'speech', not 'none'"):
        decoder.forward(sequence, adapter="none")


def test_a_sequence_longer_than_the_context_leaves_the_cache_usable(bundle: Bundle, fresh: Decoder):
    decoder, sequence = _decoder(bundle, max_context=32), _sequence(bundle, 32)
    assert decoder.limit.has_room(32)
    assert not decoder.limit.has_room(33)
    decoder.forward(_sequence(bundle, 31), adapter="none")
    with pytest.raises(CapacityError, match=r"needs 40 tokens but the context holds 32; shorten it by 8"):
        decoder.forward(_sequence(bundle, 40), adapter="none")
    logits = decoder.forward(sequence, adapter="none")
    np.testing.assert_allclose(logits, _at_once(fresh, bundle, 32), atol=CLOSE)


def test_reading_stops_between_chunks(bundle: Bundle):
    answers = iter([False, False, True])
    with pytest.raises(Stopped):
        _decoder(bundle, chunk=10).forward(_sequence(bundle, 100), adapter="none", should_stop=lambda: next(answers))
    assert not list(answers)


@pytest.mark.parametrize(
    ("max_context", "words"),
    [(0, "use 1 or more"), (-1, "use 1 or more"), (131073, "this model takes 1 to 131,072")],
)
def test_a_context_beyond_the_models_is_refused(bundle: Bundle, max_context: int, words: str):
    with pytest.raises(ConfigError, match=f"max_context is {max_context}; {words}"):
        _decoder(bundle, max_context=max_context)


def test_another_graph_under_the_decoders_name_is_refused(tmp_path: Path):
    folder = copy_bundle(small_bundle(), tmp_path / "m")
    put(folder, "decoder_text.onnx", (folder / "decoder.onnx").read_bytes())
    put(folder, "decoder.onnx", (folder / "vision.onnx").read_bytes())
    swapped = Bundle(folder)
    with pytest.raises(ArtifactError, match=r"decoder_text.onnx: graph input 'adapter' is not known"):
        _decoder(swapped)
    with pytest.raises(ArtifactError, match=r"decoder.onnx: graph input '.*' is"):
        Decoder(swapped, ModelOptions(threads=1, with_adapters=True))
