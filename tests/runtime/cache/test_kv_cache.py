"""The cache must keep what it holds when it grows, and refuse what it cannot hold without losing anything."""

from __future__ import annotations

import dataclasses
import weakref

import numpy as np
import pytest

from edgephi.base.errors import CapacityError
from edgephi.base.hardware import Memory
from edgephi.bundle.manifest import FloatName
from edgephi.cache.kv_cache import CacheShape, KVCache, check_context


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
    before = dict(cache.buffers)
    cache.reserve(cache.capacity + 1)
    assert cache.capacity > cache.used
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
    with pytest.raises(CapacityError, match=r"needs 310 tokens but the context holds 300; shorten it by 10 or set "
                                            r"max_context to 310 \(0.0 MiB more memory\)"):  # fmt: skip
        cache.reserve(310)
    assert (cache.used, cache.buffers is before) == (7, True)


def test_beyond_the_models_context_there_is_only_a_shorter_input():
    with pytest.raises(CapacityError, match=r"needs 500 tokens but the context holds 300; shorten it by 200$"):
        check_context(500, _shape(300, 400))


def test_memory_that_cannot_be_had_is_an_error_that_leaves_the_cache_usable(monkeypatch: pytest.MonkeyPatch):
    endless = Memory(total_bytes=2**80, available_bytes=2**80, limit_bytes=None)
    monkeypatch.setattr("edgephi.base.free_memory.memory", lambda root: endless)
    huge = dataclasses.replace(_shape(2**62, 2**62), num_layers=32, num_kv_heads=8, head_size=128)
    cache = KVCache(huge)
    with pytest.raises(CapacityError, match="more than this machine can give"):
        cache.reserve(2**45)
    assert cache.capacity == 256


def test_an_empty_cache_frees_its_buffers_before_it_grows(monkeypatch: pytest.MonkeyPatch):
    cache = KVCache(_shape())
    old = [weakref.ref(buffer) for buffer in cache.buffers.values()]
    alive = []

    def observed(_: object, shape: tuple[int, ...], dtype: FloatName) -> np.ndarray:
        alive.append(any(ref() is not None for ref in old))
        return np.zeros(shape, dtype)

    monkeypatch.setattr("edgephi.ort.cpu.CpuDevice.zeros", observed)
    cache.reserve(600)
    assert alive
    assert not any(alive)


def test_a_growing_cache_holds_one_buffer_twice_at_most():
    """Otherwise a conversation that fits would need twice its memory for a moment, and be killed for it."""
    cache = KVCache(_shape())
    cache.used = 100
    old = [weakref.ref(buffer) for buffer in cache.buffers.values()]
    alive = []

    class Observed(dict[str, np.ndarray]):
        def pop(self, name: str) -> np.ndarray:  # type: ignore[override]
            alive.append(sum(ref() is not None for ref in old))
            return super().pop(name)

    cache.buffers = Observed(cache.buffers)
    cache.reserve(600)
    assert alive == [4, 3, 2, 1]


def test_an_interrupted_move_leaves_a_cache_that_can_be_filled_again():
    """Ctrl-C between two buffers: neither the old nor the new ones are whole."""
    cache = KVCache(_shape())
    cache.used = 100

    class Interrupted(dict[str, np.ndarray]):
        def pop(self, name: str) -> np.ndarray:  # type: ignore[override]
            if len(self) == 2:
                raise KeyboardInterrupt
            return super().pop(name)

    cache.buffers = Interrupted(cache.buffers)
    with pytest.raises(KeyboardInterrupt):
        cache.reserve(600)
    assert cache.used == 0
    assert len({buffer.shape for buffer in cache.buffers.values()}) == 1
    assert len(cache.buffers) == 4


def test_more_than_the_free_memory_is_refused_before_anything_changes(monkeypatch: pytest.MonkeyPatch):
    """The system promises maps freely and kills the process that fills them."""
    few = Memory(total_bytes=2**30, available_bytes=192 * 100, limit_bytes=None)
    monkeypatch.setattr("edgephi.base.free_memory.memory", lambda root: few)
    monkeypatch.setattr("edgephi.base.free_memory.swap_bytes", lambda root: 0)
    monkeypatch.setattr("edgephi.cache.kv_cache._SMALL_BYTES", 1000)
    cache = KVCache(_shape())
    cache.used = 7
    cache.reserve(cache.capacity + 100)
    before = cache.buffers
    words = (
        r"^101 more tokens need [\d.]+ kB but [\d.]+ k?B are available; shorten the input by 1 tokens or more, or use "
        r"a folder exported with --kv-cache int8, which needs [\d.]+ kB; a smaller "
        r"--cache-bytes keeps less of earlier requests$"
    )
    with pytest.raises(CapacityError, match=words):
        cache.reserve(cache.capacity + 101)
    with pytest.raises(CapacityError, match="more tokens need"):
        cache.branch(7, 101)
    assert (cache.used, cache.buffers is before) == (7, True)


def test_shrinking_keeps_the_beginning_and_frees_the_rest():
    cache = KVCache(_shape(20_000, 20_000))
    cache.reserve(9000)
    cache.used = 9000
    for number, buffer in enumerate(cache.buffers.values()):
        buffer[:] = np.arange(buffer.shape[2])[:, None] + number
    del buffer
    old = [weakref.ref(buffer) for buffer in cache.buffers.values()]
    cache.shrink(4096 * 192 + 5)
    assert (cache.used, cache.capacity, cache.num_bytes) == (4096, 4096, 4096 * 192)
    assert not any(ref() is not None for ref in old)
    assert all(buffer[0, 2, 4095, 3] == 4095 + number for number, buffer in enumerate(cache.buffers.values()))
    before = cache.buffers
    cache.shrink(4096 * 192)
    assert cache.buffers is before
    cache.shrink(100 * 192)  # less than a block keeps nothing but a block's memory
    assert (cache.used, cache.capacity) == (0, 256)


def test_a_branch_is_a_copy():
    cache = KVCache(_shape())
    for buffer in cache.buffers.values():
        buffer[:] = np.random.default_rng(0).standard_normal(buffer.shape)
    cache.used = 200
    branch = cache.branch(50, 300)
    assert (branch.used, branch.capacity, cache.used) == (50, 512, 200)
    for name, buffer in branch.buffers.items():
        assert np.array_equal(buffer[:, :, :50], cache.buffers[name][:, :, :50])
        buffer[:] = 0
        assert cache.buffers[name].any()


def test_truncation_drops_the_end_only():
    cache = KVCache(_shape())
    cache.used = 10
    cache.truncate(4)
    assert cache.used == 4
    with pytest.raises(ValueError, match="4 tokens are filled"):
        cache.truncate(5)
