"""What was read is used again only where it is right, and never takes more memory than was granted."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from edgephi.base.cancellation import Stopped
from edgephi.base.errors import CapacityError, ConfigError
from edgephi.bundle.bundle import Bundle
from edgephi.bundle.manifest import Adapter
from edgephi.cache.context_limit import ContextLimit
from edgephi.cache.kv_cache import KVCache, cache_shape
from edgephi.cache.prefix_cache import CachedSequence, PrefixCache
from edgephi.decoder.decoder import Decoder
from edgephi.decoder.embedding_table import EmbeddingTable
from edgephi.model_options import ModelOptions
from edgephi.prompt.input_sequence import InputSequence
from support.bundles import small_bundle
from support.random_values import integers

BOUNDARY = 64
IDS = np.array(integers("prefix cache", 0, 700, 350))
OTHER = (IDS + 1) % 350
CLOSE = 2e-5
BLOCK = 256


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return Bundle(small_bundle())


@pytest.fixture(scope="module")
def table(bundle: Bundle) -> EmbeddingTable:
    return EmbeddingTable(bundle, bundle.manifest.decoder.embedding)


@pytest.fixture(scope="module")
def fresh(bundle: Bundle, table: EmbeddingTable) -> Callable[..., np.ndarray]:
    """The last logits of a sequence that is read at once by a decoder that holds nothing."""
    decoder = Decoder(bundle, ModelOptions(threads=1, chunk=4096))

    def read(sequence: InputSequence, adapter: Adapter = "none") -> np.ndarray:
        decoder.sequences.clear()
        return decoder.forward(sequence, adapter=adapter).copy()

    return read


def _decoder(bundle: Bundle, blocks: float = 100, **options: int) -> Decoder:
    size = int(blocks * BLOCK * cache_shape(bundle.manifest).bytes_per_position)
    decoder = Decoder(bundle, ModelOptions(threads=1, **options))  # type: ignore[arg-type]
    decoder.sequences.budget_bytes = size
    return decoder


def _request(decoder: Decoder, sequence: InputSequence, adapter: Adapter = "none") -> tuple[int, np.ndarray]:
    """Positions found in the cache, and the logits."""
    held = decoder.sequences.begin(sequence, adapter)
    logits = decoder.forward(sequence, adapter=adapter).copy()
    decoder.sequences.trim()
    return held, logits


def _ids(*parts: np.ndarray) -> np.ndarray:
    return np.concatenate(parts)


def test_the_next_turn_reads_only_what_is_new(bundle: Bundle, table: EmbeddingTable, fresh: Callable[..., np.ndarray]):
    decoder = _decoder(bundle)
    for length, expected in ((100, 0), (101, 100), (180, 101), (180, 180), (179, 179), (100, 100)):
        sequence = InputSequence(table, IDS[:length], {})
        held, logits = _request(decoder, sequence)
        assert held == expected
        np.testing.assert_allclose(logits, fresh(sequence), atol=CLOSE)


@pytest.mark.parametrize("chunk", [16, 50])
def test_a_beginning_that_ends_with_a_chunk_gives_the_same_bits(bundle: Bundle, table: EmbeddingTable, chunk: int):
    sequence = InputSequence(table, IDS[:250], {})
    once, twice = _decoder(bundle, chunk=chunk), _decoder(bundle, chunk=chunk)
    expected = once.forward(sequence, adapter="none")
    _request(twice, InputSequence(table, IDS[: 3 * chunk], {}))
    held, logits = _request(twice, sequence)
    assert held == 3 * chunk
    np.testing.assert_array_equal(logits, expected)


def test_a_branch_leaves_the_other_sequence_whole(
    bundle: Bundle, table: EmbeddingTable, fresh: Callable[..., np.ndarray]
):
    """Two conversations after one system prompt, in turns: neither is read again."""
    decoder = _decoder(bundle)
    one = InputSequence(table, _ids(IDS[:100], IDS[100:200]), {})
    two = InputSequence(table, _ids(IDS[:100], OTHER[100:200]), {})
    assert _request(decoder, one)[0] == 0
    assert _request(decoder, two)[0] == 100
    for sequence, more in ((one, 5), (two, 6), (one, 7)):
        before = len(sequence)
        sequence.append(more)
        held, logits = _request(decoder, sequence)
        assert held == before
        np.testing.assert_allclose(logits, fresh(sequence), atol=CLOSE)


@pytest.mark.parametrize(("said", "adapter", "kept"), [(IDS, "none", 1), (OTHER, "none", 2), (IDS, "speech", 2)])
def test_the_same_said_again_takes_no_more_memory(
    bundle: Bundle, table: EmbeddingTable, said: np.ndarray, adapter: Adapter, kept: int
):
    """A device that asks one thing all day would otherwise fill the budget with copies of one answer."""
    decoder = _decoder(bundle)
    answered = InputSequence(table, IDS[:200], {})
    _request(decoder, answered)
    asked = InputSequence(table, IDS[:100], {})
    assert decoder.sequences.begin(asked, adapter) == (100 if adapter == "none" else 0)
    decoder.forward(asked, adapter=adapter)
    for token_id in said[100:210]:
        asked.append(int(token_id))
    decoder.forward(asked, adapter=adapter)
    decoder.sequences.trim()
    assert decoder.sequences.num_bytes == kept * BLOCK * decoder.limit.shape.bytes_per_position
    assert _request(decoder, answered)[0] == 200


def test_an_end_that_is_soon_read_again_is_not_worth_a_copy(bundle: Bundle, table: EmbeddingTable):
    """The template's last tokens change with every turn; a copy for each would fill the budget."""
    decoder = _decoder(bundle)
    _request(decoder, InputSequence(table, IDS[:110], {}))
    assert _request(decoder, InputSequence(table, _ids(IDS[:100], OTHER[100:200]), {}))[0] == 100
    assert len(decoder.sequences) == 1


def test_another_adapter_shares_nothing(bundle: Bundle, table: EmbeddingTable, fresh: Callable[..., np.ndarray]):
    decoder, sequence = _decoder(bundle), InputSequence(table, IDS[:80], {})
    for adapter, held in (("none", 0), ("speech", 0), ("vision", 0), ("speech", 80), ("none", 80)):
        found, logits = _request(decoder, sequence, adapter)  # type: ignore[arg-type]
        assert found == held
        np.testing.assert_allclose(logits, fresh(sequence, adapter), atol=CLOSE)


def test_media_are_shared_by_content_only(bundle: Bundle, table: EmbeddingTable, fresh: Callable[..., np.ndarray]):
    """Their slots have the same ids; another image's keys would be answers about another image."""
    random = np.random.default_rng(0)
    size = bundle.manifest.decoder.hidden_size
    cat, dog = (random.standard_normal((40, size), dtype=np.float32) * 0.02 for _ in range(2))
    decoder = _decoder(bundle)

    def sequence(*media: tuple[int, np.ndarray], length: int = 80) -> InputSequence:
        return InputSequence(table, IDS[:length], dict(media))

    cases = [
        (sequence((10, cat)), 0),
        (sequence((10, cat), length=90), 119),
        (sequence((10, cat), (60, dog), length=90), 10 + 40 + 49),
        (sequence((10, cat), (60, cat), length=90), 10 + 40 + 49),
        (sequence((10, dog)), 10),
        (sequence((10, dog[:30])), 10),
        (sequence(), 11),  # the slot's own id, then its row without an image
        (sequence((10, cat.copy())), 99),
    ]
    for request, held in cases:
        found, logits = _request(decoder, request)
        assert found == held if request.spans else found <= 10
        np.testing.assert_allclose(logits, fresh(request), atol=CLOSE)


def test_the_least_recently_used_is_evicted_first_and_the_budget_is_kept(bundle: Bundle, table: EmbeddingTable):
    decoder = _decoder(bundle, blocks=3)
    sequences = [InputSequence(table, (IDS[:100] + number) % 350, {}) for number in range(4)]
    found = []
    for number in (0, 1, 2, 0, 3, 0, 1):  # 3 takes the place of 1, then 1 that of 2
        found.append(_request(decoder, sequences[number])[0])
        assert decoder.sequences.num_bytes <= decoder.sequences.budget_bytes
    assert found == [0, 0, 0, 100, 0, 100, 0]
    assert len(decoder.sequences) == 3


def test_a_branch_is_made_where_the_budget_has_just_room_for_both(bundle: Bundle, table: EmbeddingTable):
    for blocks, count in ((2, 2), (1.99, 1)):
        decoder = _decoder(bundle, blocks=blocks)
        _request(decoder, InputSequence(table, IDS[:100], {}))
        assert _request(decoder, InputSequence(table, _ids(IDS[:50], OTHER[50:100]), {}))[0] == 50
        assert len(decoder.sequences) == count


def test_a_long_request_takes_what_it_needs_and_keeps_what_it_may(
    bundle: Bundle, table: EmbeddingTable, fresh: Callable[..., np.ndarray]
):
    decoder = _decoder(bundle, blocks=1.5)
    long = InputSequence(table, IDS[:700], {})
    assert _request(decoder, long)[0] == 0
    assert decoder.sequences.num_bytes == BLOCK * decoder.limit.shape.bytes_per_position
    held, logits = _request(decoder, long)
    assert held == BLOCK  # its beginning
    np.testing.assert_allclose(logits, fresh(long), atol=CLOSE)


def test_no_budget_keeps_nothing(bundle: Bundle, table: EmbeddingTable):
    decoder = _decoder(bundle, blocks=0)
    for _ in range(2):
        assert _request(decoder, InputSequence(table, IDS[:100], {}))[0] == 0
        assert decoder.num_cached == 0


def test_a_branch_without_memory_takes_the_others_place(
    bundle: Bundle, table: EmbeddingTable, fresh: Callable[..., np.ndarray], monkeypatch: pytest.MonkeyPatch
):
    decoder = _decoder(bundle)
    _request(decoder, InputSequence(table, IDS[:200], {}))

    def refuse(*_: object) -> None:
        raise CapacityError("none")

    monkeypatch.setattr(KVCache, "branch", refuse)
    sequence = InputSequence(table, _ids(IDS[:100], OTHER[100:200]), {})
    held, logits = _request(decoder, sequence)
    assert (held, len(decoder.sequences)) == (100, 1)
    np.testing.assert_allclose(logits, fresh(sequence), atol=CLOSE)


@pytest.mark.parametrize("stop_at", [1, 2, 3, 4])
def test_a_cancelled_request_leaves_what_it_read(
    bundle: Bundle, table: EmbeddingTable, fresh: Callable[..., np.ndarray], stop_at: int
):
    decoder = _decoder(bundle, chunk=20)
    asked = iter(range(1, 9))
    sequence = InputSequence(table, IDS[:100], {})
    decoder.sequences.begin(sequence, "none")
    with pytest.raises(Stopped):
        decoder.forward(sequence, adapter="none", should_stop=lambda: next(asked) == stop_at)
    decoder.sequences.trim()
    longer = InputSequence(table, IDS[:130], {})
    held, logits = _request(decoder, longer)
    assert held == 20 * (stop_at - 1)
    np.testing.assert_allclose(logits, fresh(longer), atol=CLOSE)


def test_rejected_drafts_are_not_remembered(bundle: Bundle, table: EmbeddingTable):
    decoder, sequence = _decoder(bundle), InputSequence(table, IDS[:50], {})
    decoder.sequences.begin(sequence, "none")
    decoder.forward(sequence, adapter="none")
    for token_id in (1, 2, 3):
        sequence.append(token_id)
    decoder.forward(sequence, adapter="none", rows=3)
    decoder.truncate(51)
    sequence.truncate(51)
    sequence.append(9)
    decoder.sequences.trim()
    assert _request(decoder, InputSequence(table, _ids(IDS[:50], np.array([1, 9, 3])), {}))[0] == 51


@pytest.fixture(scope="module")
def low(bundle: Bundle) -> Bundle:
    """LongRoPE's border at 64 positions."""
    lowered = Bundle(bundle.path)
    rope = dataclasses.replace(bundle.manifest.rope, original_max_positions=BOUNDARY)
    lowered.manifest = dataclasses.replace(bundle.manifest, rope=rope)
    return lowered


@pytest.mark.parametrize("chunk", [7, 512])
@pytest.mark.parametrize(
    ("lengths", "found"),
    [((50, 60, BOUNDARY), (0, 50, 60)), ((50, BOUNDARY + 1), (0, 0)), ((70, 90, 60, 95), (0, 70, 0, 90))],
)
def test_a_kept_beginning_equals_a_fresh_reading(
    low: Bundle, table: EmbeddingTable, chunk: int, lengths: tuple[int, ...], found: tuple[int, ...]
):
    decoder, fresh = _decoder(low, chunk=chunk), _decoder(low, chunk=512)
    for length, expected in zip(lengths, found, strict=True):
        sequence = InputSequence(table, IDS[:length], {})
        held, logits = _request(decoder, sequence)
        assert held == expected
        fresh.sequences.clear()
        np.testing.assert_allclose(logits, fresh.forward(sequence, adapter="none"), atol=CLOSE)


def test_a_reply_that_crosses_the_boundary_reads_its_images_again(low: Bundle, table: EmbeddingTable):
    """They were not encoded for this request: the cache held their keys, of the short factors."""
    rows = np.random.default_rng(0).standard_normal((20, low.manifest.decoder.hidden_size), dtype=np.float32)
    decoder, fresh = _decoder(low), _decoder(low)
    _request(decoder, InputSequence(table, IDS[:40], {5: rows}))
    sequence = InputSequence(table, IDS[:42], {5: rows})
    assert decoder.sequences.begin(sequence, "none") == 59
    for token_id in range(8):
        decoder.forward(sequence, adapter="none")
        sequence.append(token_id)
    logits = decoder.forward(sequence, adapter="none").copy()
    np.testing.assert_allclose(logits, fresh.forward(sequence, adapter="none"), atol=CLOSE)


def test_a_sequence_from_elsewhere_must_fit_the_budget(bundle: Bundle):
    shape = cache_shape(bundle.manifest)
    cache = PrefixCache(ContextLimit(shape, bundle.manifest.rope), 300 * shape.bytes_per_position)
    before = cache.present
    with pytest.raises(
        CapacityError, match=r"the prefix takes \d+ MiB but only \d+ MiB may be kept; raise cache_bytes"
    ):
        cache.insert(CachedSequence(cache=KVCache(shape, capacity=400)))
    assert cache.present is before


@pytest.mark.parametrize("cache_bytes", [-1, 1.5, None])
def test_a_budget_that_is_no_number_of_bytes_is_refused(cache_bytes: object):
    with pytest.raises(ConfigError, match=r"cache_bytes is .*; use 0 or more"):
        ModelOptions(cache_bytes=cache_bytes)  # type: ignore[arg-type]
