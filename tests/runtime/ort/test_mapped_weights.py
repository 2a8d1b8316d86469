"""Weights are handed over as they are, and memory that only packing needed is given back."""

from __future__ import annotations

import errno
import gc
import mmap
import re
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgephi import Model, SamplingOptions
from edgephi.bundle.bundle import Bundle
from edgephi.ort.mapped_weights import MappedWeights
from support.bundles import copy_bundle, small_bundle

SIZE = 1 << 20
on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


def _resident(path: Path) -> int:
    """Kilobytes of a file's mappings that are in memory."""
    text = Path("/proc/self/smaps").read_text(encoding="utf-8")
    found = re.findall(rf"{re.escape(str(path))}\n(?:[A-Z].*\n)*?Rss: +(\d+) kB", text)
    return sum(map(int, found))


def _graph(folder: Path, file: str, offset: int = 0, dims: tuple[int, ...] = (SIZE,)) -> Path:
    tensor = TensorProto(name="w", data_type=TensorProto.UINT8, dims=dims, data_location=TensorProto.EXTERNAL)
    for key, value in (("location", file), ("offset", str(offset))):
        tensor.external_data.add(key=key, value=value)
    onnx.save(helper.make_model(helper.make_graph([], "g", [], [], [tensor])), folder / "g.onnx")
    return folder / "g.onnx"


def test_every_tensor_of_every_graph_is_what_the_folder_says():
    """The folder's index is written by other code than the graphs."""
    folder = small_bundle("native", None, None, "int4")
    bundle = Bundle(folder)
    stored = {
        (ref.file, ref.offset): ref
        for info in bundle.tensor_index().tensors
        for ref in info.tensors
        if not info.name.startswith("lm_head")  # the graph has it in pieces
    }
    checked = 0
    for graph in ("decoder.onnx", "decoder_text.onnx", "speech.onnx", "vision.onnx"):
        weights = MappedWeights(folder / graph)
        model = onnx.load(folder / graph, load_external_data=False)
        for tensor in model.graph.initializer:
            place = {entry.key: entry.value for entry in tensor.external_data}
            ref = stored.get((place.get("location", ""), int(place.get("offset", 0))))
            if ref is not None:
                np.testing.assert_array_equal(weights.arrays[tensor.name], bundle.tensor(ref))
                checked += 1
    assert checked > 100


@on_linux
def test_pages_are_given_back_and_come_back(tmp_path: Path):
    (tmp_path / "w.bin").write_bytes(bytes(range(256)) * (SIZE // 256))
    weights = MappedWeights(_graph(tmp_path, "w.bin"))
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
    weights = MappedWeights(_graph(tmp_path, "w.bin"))
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
    weights = MappedWeights(_graph(tmp_path, "w.bin"))
    with weights.giving_back():
        assert not weights.arrays["w"].any()
    assert asked


def test_short_memory_is_for_onnx_runtime_to_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr("edgephi.ort.mapped_weights.mmap.mmap", full)
    (tmp_path / "w.bin").write_bytes(bytes(SIZE))
    assert MappedWeights(_graph(tmp_path, "w.bin")).arrays == {}


@on_linux
def test_pages_are_given_back_when_loading_fails(tmp_path: Path):
    (tmp_path / "w.bin").write_bytes(bytes(SIZE))
    weights = MappedWeights(_graph(tmp_path, "w.bin"))
    with suppress(MemoryError), weights.giving_back():
        assert not weights.arrays["w"].any()
        raise MemoryError
    assert _resident(tmp_path / "w.bin") == 0


@pytest.mark.parametrize(
    ("file", "offset", "dims"),
    [
        ("gone.bin", 0, (1,)),
        ("", 0, (1,)),
        ("empty.bin", 0, (1,)),
        ("model/w.bin", -1, (1,)),
        ("model/w.bin", 1, (SIZE,)),
        ("model/w.bin", 1 << 62, (1,)),
        ("model/w.bin", 0, (1 << 40, 1 << 40)),
        ("model/w.bin", 0, (-1,)),
        ("model/w.bin", 0, (0,)),
        ("model/../../secret.bin", 0, (1,)),
        ("../secret.bin", 0, (1,)),
        ("{here}/secret.bin", 0, (1,)),
        ("link.bin", 0, (1,)),
        ("w\0.bin", 0, (1,)),
    ],
)
def test_what_is_not_wholly_there_is_left_to_onnx_runtime(
    tmp_path: Path, file: str, offset: int, dims: tuple[int, ...]
):
    """It refuses these itself, in words that name the tensor; nothing outside the folder is ever read."""
    folder = tmp_path / "folder"
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "w.bin").write_bytes(bytes(SIZE))
    (folder / "empty.bin").touch()
    (tmp_path / "secret.bin").write_bytes(b"secret")
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    assert MappedWeights(_graph(folder, file.format(here=tmp_path), offset, dims)).arrays == {}


def test_a_length_that_does_not_fit_the_shape_is_left_to_onnx_runtime(tmp_path: Path):
    (tmp_path / "w.bin").write_bytes(bytes(SIZE))
    graph = _graph(tmp_path, "w.bin", 0, (64,))
    assert list(MappedWeights(graph).arrays) == ["w"]
    model = onnx.load(graph, load_external_data=False)
    model.graph.initializer[0].external_data.add(key="length", value="63")
    onnx.save(model, graph)
    assert MappedWeights(graph).arrays == {}


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
