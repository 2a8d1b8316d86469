"""A damaged weights file must be refused by name, never half read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from edgephi.base.errors import ArtifactError
from edgephi_export.checkpoint.safetensors_file import read_header
from edgephi_export.checkpoint.tensors import WeightSource
from support.tensor_files import write_raw


def _entry(begin: int = 0, end: int = 8, dtype: Any = "F32", shape: Any = (2,)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


@pytest.mark.parametrize(
    ("dtype", "code"),
    [(np.float32, "F32"), (np.float16, "F16"), (ml_dtypes.bfloat16, "BF16")],
    ids=["f32", "f16", "bf16"],
)
def test_every_float_type_is_read_exactly(tmp_path: Path, dtype: Any, code: str):
    values = np.array([[1.5, -2.0], [0.0078125, 3.0]]).astype(dtype)
    write_raw(tmp_path / "m", {"__metadata__": {}, "x": _entry(0, values.nbytes, code, [2, 2])}, values.tobytes())
    source = WeightSource(read_header(tmp_path / "m"))
    assert source.read("x").dtype == np.float32
    np.testing.assert_array_equal(source.read("x"), values.astype(np.float32))
    np.testing.assert_array_equal(source.lazy("x").read_rows(1, 2), values[1:].astype(np.float32))


def test_a_tensor_is_a_copy_that_the_caller_may_change(tmp_path: Path):
    write_raw(tmp_path / "m", {"x": _entry()}, np.ones(2, np.float32).tobytes())
    source = WeightSource(read_header(tmp_path / "m"))
    source.read("x")[:] = 5
    np.testing.assert_array_equal(source.read("x"), [1, 1])


def test_large_tensors_come_in_chunks_of_bounded_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("edgephi_export.checkpoint.lazy_tensor._CHUNK_VALUES", 6)
    values = np.arange(14, dtype=np.float32).reshape(7, 2)
    write_raw(tmp_path / "m", {"x": _entry(0, 56, "F32", [7, 2])}, values.tobytes())
    tensor = WeightSource(read_header(tmp_path / "m")).lazy("x")
    assert list(tensor.spans()) == [(0, 3), (3, 6), (6, 7)]
    np.testing.assert_array_equal(np.concatenate([tensor.read_rows(*span) for span in tensor.spans()]), values)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("dtype", "code"),
    [(np.float32, "F32"), (np.float16, "F16"), (ml_dtypes.bfloat16, "BF16")],
    ids=["f32", "f16", "bf16"],
)
def test_a_value_that_is_not_finite_is_damage(tmp_path: Path, dtype: Any, code: str, bad: float):
    """One NaN in a weight makes every answer nonsense; the largest finite values are no reason to refuse."""
    largest = float(ml_dtypes.finfo(dtype).max)
    values = np.array([[largest, -largest], [0.0, bad]]).astype(dtype)
    write_raw(tmp_path / "m", {"x": _entry(0, values.nbytes, code, [2, 2])}, values.tobytes())
    tensor = read_header(tmp_path / "m")["x"]
    assert np.isfinite(tensor.read(0, 1)).all()
    with pytest.raises(ArtifactError, match=r"m: tensor x holds NaN or infinity"):
        tensor.read(0, 2)


def test_whole_numbers_are_no_weights(tmp_path: Path):
    write_raw(tmp_path / "m", {"x": _entry(dtype="I32")}, bytes(8))
    with pytest.raises(ArtifactError, match=r"m: tensor x is I32; supported: F32, F16, BF16"):
        read_header(tmp_path / "m")["x"].read(0, 2)


@pytest.mark.parametrize(
    ("header", "data", "message"),
    [
        ({"x": _entry()}, b"1234", "tensor x ends after the file; the file is truncated"),
        ({"x": _entry()}, bytes(9), "1 bytes belong to no tensor"),
        ({"x": _entry(0, 4)}, bytes(4), r"tensor x of shape \[2\] and type F32 needs 8 bytes"),
        ({"x": _entry(4, 12)}, bytes(12), "tensor x overlaps another or leaves a gap"),
        ({"x": _entry(), "y": _entry()}, bytes(8), "tensor y overlaps another or leaves a gap"),
        ({"x": _entry(dtype="F31")}, bytes(8), "tensor x is F31, a type that edgephi does not read"),
        ({"x": _entry(dtype="F32!")}, bytes(8), "tensor x has a damaged header entry"),
        ({"x": _entry(shape=[-2])}, bytes(8), "tensor x has a damaged header entry"),
        ({"x": _entry(shape="2")}, bytes(8), "tensor x has a damaged header entry"),
        ({"x": _entry(8, 0)}, bytes(8), "tensor x of shape"),
        ({"x": 7}, bytes(8), "tensor x has a damaged header entry"),
        ([1], b"", "damaged safetensors header: not an object"),
        ({"x": _entry(0, 2**60, shape=[2**58])}, bytes(8), "tensor x ends after the file"),
        ({"x": _entry(0, 2**70, shape=[2**68])}, bytes(8), "tensor x has a damaged header entry"),
        ({"x": _entry(shape=[10**4000])}, bytes(8), "tensor x has a damaged header entry$"),
        ({"x": _entry(shape=[2**62] * 400)}, bytes(8), "tensor x has a damaged header entry: no file is as large"),
        ({"x": _entry(dtype=["F32"])}, bytes(8), "tensor x has a damaged header entry"),
        ({"x": _entry(dtype={})}, bytes(8), "tensor x has a damaged header entry"),
    ],
)  # fmt: skip
def test_a_lying_header_is_refused(tmp_path: Path, header: object, data: bytes, message: str):
    write_raw(tmp_path / "bad.safetensors", header, data)
    with pytest.raises(ArtifactError, match=r"bad\.safetensors: .*" + message):
        read_header(tmp_path / "bad.safetensors")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "truncated, or not a safetensors file"),
        (b"1234567", "truncated, or not a safetensors file"),
        ((2**63).to_bytes(8, "little") + b"{}", "truncated, or not a safetensors file"),
        ((9).to_bytes(8, "little") + b"{}", "truncated, or not a safetensors file"),
        ((2).to_bytes(8, "little") + b"\xff\xff", "damaged safetensors header"),
        ((3).to_bytes(8, "little") + b"{x}", "damaged safetensors header"),
        ((15).to_bytes(8, "little") + b'{"a": 1, "a":2}', "a appears twice in the header"),
        ((200_000).to_bytes(8, "little") + b"[" * 200_000, "damaged safetensors header"),
        (b"version https://git-lfs.github.com/spec/v1\n", "truncated, or not a safetensors file"),
    ],
)
def test_other_bytes_are_refused(tmp_path: Path, content: bytes, message: str):
    (tmp_path / "bad.safetensors").write_bytes(content)
    with pytest.raises(ArtifactError, match=r"bad\.safetensors: .*" + message):
        read_header(tmp_path / "bad.safetensors")


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(ArtifactError, match=r"none\.safetensors: missing from the checkpoint"):
        read_header(tmp_path / "none.safetensors")
    with pytest.raises(ArtifactError, match="cannot be read"):
        read_header(tmp_path)


def test_a_file_that_shrinks_after_its_header_was_read_is_reported(tmp_path: Path):
    write_raw(tmp_path / "m", {"x": _entry()}, bytes(8))
    tensor = read_header(tmp_path / "m")["x"]
    (tmp_path / "m").write_bytes(b"")
    with pytest.raises(ArtifactError, match=r"m: tensor x cannot be read"):
        tensor.read(0, 2)
