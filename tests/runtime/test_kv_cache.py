"""The cache must keep what it holds when it grows, and refuse what it cannot hold without losing anything."""

from __future__ import annotations

import dataclasses
import weakref

import numpy as np
import pytest

from edgephi.errors import CapacityError
from edgephi.kv_cache import CacheShape, KVCache, check_context
from edgephi.manifest import FloatName


def _shape(max_positions: int = 1000, model_positions: int = 1000, dtype: FloatName = "float32") -> CacheShape:
    return CacheShape(
        num_layers=2,
        num_kv_heads=3,
        head_size=4,
        max_positions=max_positions,
        model_positions=model_positions,
        dtype=dtype,
    )


def test_buffers_have_the_graphs_names_and_shapes():
    cache = KVCache(_shape())
    assert list(cache.buffers) == [f"past_key_values.{i}.{kind}" for i in (0, 1) for kind in ("key", "value")]
    assert all(buffer.shape == (1, 3, cache.capacity, 4) for buffer in cache.buffers.values())


@pytest.mark.parametrize(("dtype", "size"), [("float32", 192), ("float16", 96)])
def test_positions_cost_what_the_shape_says(dtype: FloatName, size: int):
    cache = KVCache(_shape(dtype=dtype))
    assert cache.shape.bytes_per_position == size  # keys and values of 2 layers, 3 heads of 4
    assert {buffer.dtype for buffer in cache.buffers.values()} == {np.dtype(dtype)}
    assert sum(buffer.nbytes for buffer in cache.buffers.values()) == size * cache.capacity


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_growth_keeps_every_filled_position(dtype: FloatName):
    cache = KVCache(_shape(dtype=dtype))
    random = np.random.default_rng(0)
    for buffer in cache.buffers.values():
        buffer[:] = random.standard_normal(buffer.shape, dtype=np.float32)
    cache.used = cache.capacity
    before = cache.buffers
    cache.reserve(cache.capacity + 1)
    assert cache.buffers is not before
    for name, buffer in cache.buffers.items():
        assert buffer.dtype == dtype
        assert np.array_equal(buffer[:, :, : cache.used], before[name])


def test_no_growth_means_no_new_arrays():
    cache = KVCache(_shape())
    before = cache.buffers
    cache.reserve(cache.capacity)
    assert cache.buffers is before


def test_growth_stops_at_the_context():
    cache = KVCache(_shape(300))
    cache.reserve(300)
    assert cache.capacity == 300


def test_a_full_cache_says_how_much_too_long_and_changes_nothing():
    cache = KVCache(_shape(300, 400))
    cache.used, before = 7, cache.buffers
    with pytest.raises(CapacityError, match=r"needs 310 positions but the context holds 300; shorten it by 10 or set "
                                            r"max_context to 310 \(0.0 MiB more memory\)"):  # fmt: skip
        cache.reserve(310)
    assert (cache.used, cache.buffers is before) == (7, True)


def test_beyond_the_models_context_there_is_only_a_shorter_input():
    with pytest.raises(CapacityError, match=r"needs 500 positions but the context holds 300; shorten it by 200$"):
        check_context(500, _shape(300, 400))


def test_memory_that_cannot_be_had_is_an_error_that_leaves_the_cache_usable():
    huge = dataclasses.replace(_shape(2**62, 2**62), num_layers=32, num_kv_heads=8, head_size=128)
    cache = KVCache(huge)
    with pytest.raises(CapacityError, match="more than this machine can give"):
        cache.reserve(2**45)
    assert cache.capacity == 256


def test_an_empty_cache_frees_its_buffers_before_it_grows(monkeypatch: pytest.MonkeyPatch):
    cache = KVCache(_shape())
    old = [weakref.ref(buffer) for buffer in cache.buffers.values()]
    zeros, alive = np.zeros, []

    def watched(*arguments, **options):
        alive.append(any(ref() is not None for ref in old))
        return zeros(*arguments, **options)

    monkeypatch.setattr(np, "zeros", watched)
    cache.reserve(600)
    assert alive
    assert not any(alive)


def test_a_reset_gives_back_the_memory_of_a_long_sequence_only():
    cache = KVCache(_shape(20_000, 20_000))
    cache.reserve(3000)
    before = cache.buffers
    assert not cache.is_oversized
    cache.reset()
    assert cache.buffers is before
    cache.reserve(9000)
    cache.used = 9000
    assert cache.is_oversized
    cache.reset()
    assert (cache.used, cache.capacity, cache.is_oversized) == (0, 4096, False)


def test_truncation_forgets_the_end_only():
    cache = KVCache(_shape())
    cache.used = 10
    cache.truncate(4)
    assert cache.used == 4
    with pytest.raises(ValueError, match="4 positions are filled"):
        cache.truncate(5)
