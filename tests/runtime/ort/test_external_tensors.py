"""Graphs are read without the `onnx` package as it reads them, and damage never raises or hangs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import AttributeProto, GraphProto, TensorProto, helper

from edgephi.ort.external_tensors import ExternalTensor, external_tensors
from support.bundles import small_bundle


def _by_onnx(graph: GraphProto) -> Iterator[ExternalTensor]:
    for tensor in graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL:
            place = {entry.key: entry.value for entry in tensor.external_data}
            dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type).name
            shape = tuple(tensor.dims)
            length = int(place["length"])
            yield ExternalTensor(tensor.name, place["location"], int(place["offset"]), dtype, shape, length)
    for node in graph.node:
        for attribute in node.attribute:
            for branch in (*attribute.graphs, *([attribute.g] if attribute.type == AttributeProto.GRAPH else [])):
                yield from _by_onnx(branch)


@pytest.mark.parametrize("recipe", ["int4", "int8", "fp32", "fp16"])
@pytest.mark.parametrize("name", ["decoder.onnx", "decoder_text.onnx", "speech.onnx", "vision.onnx"])
def test_graphs_are_read_as_onnx_reads_them(recipe: str, name: str):
    path = small_bundle("native", None, None, recipe) / name
    expected = set(_by_onnx(onnx.load(path, load_external_data=False).graph))
    assert set(external_tensors(path.read_bytes())) == expected
    assert len(expected) > 10


def _tensor(name: str, offset: int, dims: tuple[int, ...] = (2, 3), dtype: int = TensorProto.FLOAT) -> TensorProto:
    tensor = TensorProto(name=name, data_type=dtype, dims=dims, data_location=TensorProto.EXTERNAL)
    for key, value in (("location", "w.bin"), ("offset", str(offset)), ("length", "24")):
        tensor.external_data.add(key=key, value=value)
    return tensor


def _model(*tensors: TensorProto, branch: tuple[TensorProto, ...] = ()) -> bytes:
    inner = helper.make_graph([], "branch", [], [], list(branch))
    choice = helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)
    model = helper.make_model(helper.make_graph([choice], "g", [], [], list(tensors)))
    return bytes(model.SerializeToString())


def test_constants_of_branches_and_numbers_of_any_size_are_read():
    far, scalar = _tensor("far", (1 << 40) + 7, (1 << 35, 1)), _tensor("scalar", 0, ())
    assert external_tensors(_model(far, scalar, branch=(_tensor("within", 64),))) == (
        ExternalTensor("within", "w.bin", 64, "float32", (2, 3), 24),
        ExternalTensor("far", "w.bin", (1 << 40) + 7, "float32", (1 << 35, 1), 24),
        ExternalTensor("scalar", "w.bin", 0, "float32", (), 24),
    )


def test_a_name_with_two_meanings_and_what_numpy_lacks_are_left_out():
    """ONNX Runtime would put what it is given in the place of every constant of that name."""
    inline = helper.make_tensor("inline", TensorProto.FLOAT, [1], [1.0])
    odd = _tensor("odd", 0, dtype=TensorProto.BFLOAT16)
    within = (_tensor("twice", 64), _tensor("inline", 0), _tensor("odd", 0), _tensor("b", 8))
    found = external_tensors(_model(_tensor("twice", 0), inline, odd, branch=within))
    assert [tensor.name for tensor in found] == ["b"]


def test_an_offset_that_is_left_out_is_the_files_beginning():
    tensor = _tensor("w", 0)
    del tensor.external_data[1:]
    assert external_tensors(_model(tensor)) == (ExternalTensor("w", "w.bin", 0, "float32", (2, 3), None),)


def test_damaged_graphs_give_nothing_or_part_and_never_fail():
    """ONNX Runtime refuses them afterwards, and says why."""
    whole = (small_bundle() / "decoder_text.onnx").read_bytes()
    random = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(whole[: random.integers(len(whole))] if random.random() < 0.5 else whole)
        for at in random.integers(max(len(damaged), 1), size=random.integers(1, 20)):
            damaged[at : at + 1] = bytes([random.integers(256)])
        external_tensors(bytes(damaged))
    for odd in (b"", b"\xff" * 40, b"\x3a", b"\x3a\xff\xff\xff\xff\x0f", b"\x3b", b"not a graph"):
        assert external_tensors(odd) == ()
    assert external_tensors(Path(__file__).read_bytes()) == ()


def _inside(number: int, message: bytes) -> bytes:
    """A message as a field of another, in protobuf's encoding."""
    size, length = len(message), b""
    while size >= 0x80:
        length, size = length + bytes([size & 0x7F | 0x80]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + message


def test_branches_without_end_are_left_to_onnx_runtime():
    graph = GraphProto(initializer=[_tensor("w", 0)]).SerializeToString()
    assert len(external_tensors(_inside(7, _inside(1, _inside(5, _inside(6, graph)))))) == 1
    for _ in range(1000):
        graph = _inside(1, _inside(5, _inside(6, graph)))
    assert external_tensors(_inside(7, graph)) == ()
