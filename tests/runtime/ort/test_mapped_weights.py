"""Weights are handed over as they are, and memory that only packing needed is given back."""

from __future__ import annotations

import gc
import mmap
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import AttributeProto, GraphProto, TensorProto, numpy_helper

from edgephi import Model, SamplingOptions
from edgephi.bundle.bundle import Bundle
from edgephi.bundle.folder_files import PlainFiles
from edgephi.bundle.manifest import CacheKind
from edgephi.bundle.tensor_index import GraphConstant
from edgephi.bundle.tensor_ref import TensorRef
from edgephi.ort.mapped_weights import MappedWeights
from support.bundles import copy_bundle, small_bundle

SIZE = 1 << 20
on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


def _resident(path: Path) -> int:
    """Kilobytes of a file's mappings that are in memory."""
    text = Path("/proc/self/smaps").read_text(encoding="utf-8")
    found = re.findall(rf"{re.escape(str(path))}\n(?:[A-Z].*\n)*?Rss: +(\d+) kB", text)
    return sum(map(int, found))


def _mapped(folder: Path) -> MappedWeights:
    """One large constant, `w`, the whole file."""
    ref = TensorRef(file="w.bin", offset=0, dtype="uint8", shape=(SIZE,))
    constant = GraphConstant(name="w", graphs=("g.onnx",), tensor=ref, length=SIZE)
    return MappedWeights(PlainFiles(folder), [constant])


@pytest.mark.parametrize("kv_cache", ["float", "int8"])
def test_every_constant_of_every_graph_is_handed_over_as_the_onnx_package_reads_it(kv_cache: CacheKind):
    folder = small_bundle("native", None, None, "int4", kv_cache)
    bundle = Bundle(folder)
    for graph in bundle.manifest.graphs:
        arrays = MappedWeights(bundle.files, bundle.tensor_index().constants_of(graph)).arrays
        external = list(_tensors(onnx.load(folder / graph, load_external_data=False).graph))
        assert arrays.keys() == {tensor.name for tensor in external}
        for tensor in external:
            np.testing.assert_array_equal(arrays[tensor.name], numpy_helper.to_array(tensor, str(folder)))


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    """Those in files, of branches too."""
    yield from (tensor for tensor in graph.initializer if tensor.data_location == TensorProto.EXTERNAL)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                yield from _tensors(attribute.g)


@on_linux
def test_pages_are_given_back_and_come_back(tmp_path: Path):
    (tmp_path / "w.bin").write_bytes(bytes(range(256)) * (SIZE // 256))
    weights = _mapped(tmp_path)
    array = weights.arrays["w"]
    with weights.giving_back():
        assert int(array[:: mmap.PAGESIZE].sum()) == 0
    assert _resident(tmp_path / "w.bin") == 0
    assert bytes(array[1000:1004]) == bytes([232, 233, 234, 235])
    assert _resident(tmp_path / "w.bin") > 0


@on_linux
def test_pages_go_while_a_graph_still_loads(tmp_path: Path):
    """Otherwise the peak would be the file and its packed copy, twice the model."""
    (tmp_path / "w.bin").write_bytes(bytes(SIZE))
    weights = _mapped(tmp_path)
    deadline = time.monotonic() + 10
    with weights.giving_back():
        assert not weights.arrays["w"].any()
        while _resident(tmp_path / "w.bin") and time.monotonic() < deadline:
            time.sleep(0.002)
        assert _resident(tmp_path / "w.bin") == 0


def test_a_system_that_keeps_its_pages_or_has_no_thread_to_give_only_takes_more_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """As where a program locks all its memory: dropping pages fails then."""
    asked: list[object] = []

    class Locked:
        @staticmethod
        def madvise(*given: object) -> int:
            asked.append(given)
            return -1

    def no_thread(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("edgephi.ort.mapped_weights.ctypes.CDLL", lambda _: Locked)
    monkeypatch.setattr(threading.Thread, "start", no_thread)
    (tmp_path / "w.bin").write_bytes(bytes(SIZE))
    weights = _mapped(tmp_path)
    with weights.giving_back():
        assert not weights.arrays["w"].any()
    assert asked


@on_linux
def test_pages_are_given_back_when_loading_fails(tmp_path: Path):
    (tmp_path / "w.bin").write_bytes(bytes(SIZE))
    weights = _mapped(tmp_path)
    with suppress(MemoryError), weights.giving_back():
        assert not weights.arrays["w"].any()
        raise MemoryError
    assert _resident(tmp_path / "w.bin") == 0


def test_the_folder_may_be_deleted_while_a_model_runs(tmp_path: Path):
    """An update replaces folders under running programs."""
    folder = copy_bundle(small_bundle(), tmp_path / "model")
    few = SamplingOptions(max_new_tokens=4)
    with Model.load(folder, cache_bytes=0) as model:
        before = model.generate("hello", options=few).token_ids
        for path in (folder / "weights").iterdir():
            path.unlink()
        assert model.generate("hello", options=few).token_ids == before


@on_linux
def test_a_loaded_model_holds_no_pages_of_its_files_and_still_answers():
    bundle = small_bundle("native", None, None, "int4")
    with Model.load(bundle) as model:
        weights = bundle / "weights" / "decoder.bin"
        assert _resident(weights) < weights.stat().st_size / 1024 / 3  # small ones may be read again, with neighbours
        model.generate("hi", options=SamplingOptions(max_new_tokens=4))


@on_linux
def test_a_closed_model_leaves_no_mapping_behind_before_the_garbage_collector_runs(tmp_path: Path):
    """Its gigabytes are wanted for the next model at once."""
    # A folder of its own: models of other tests may still be waiting to be collected.
    bundle = copy_bundle(small_bundle("native", None, None, "int4"), tmp_path / "model")

    def mappings() -> int:
        return Path("/proc/self/maps").read_text(encoding="utf-8").count(str(bundle))

    gc.collect()
    gc.disable()
    try:
        with Model.load(bundle) as model:
            model.generate("hi", options=SamplingOptions(max_new_tokens=4))
            assert mappings() > 0
        del model
        assert mappings() == 0
    finally:
        gc.enable()
