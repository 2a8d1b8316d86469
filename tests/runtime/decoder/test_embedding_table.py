"""A token's embedding must be its row of the table, in whatever format the table is stored."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edgephi.bundle.bundle import Bundle
from edgephi.bundle.folder_files import HeldFiles
from edgephi.bundle.tensor_ref import TableInfo, TensorRef
from edgephi.decoder.embedding_table import EmbeddingTable
from support.bundles import small_bundle, small_checkpoint
from support.weights import decoder_weights

ROWS = 7
IDS = np.array([6, 0, 3, 3])


class Folder:
    """What a table needs of a bundle, with one file per tensor."""

    def __init__(self, path: Path, hidden_size: int) -> None:
        self.path = path
        self.manifest = SimpleNamespace(decoder=SimpleNamespace(hidden_size=hidden_size))
        self.tensor = lambda ref: Bundle.tensor(self, ref)  # type: ignore[arg-type]
        self.file = path.joinpath
        self.files = HeldFiles(path)

    def put(self, name: str, array: np.ndarray) -> TensorRef:
        array.tofile(self.path / name)
        self.files.add(name)
        return TensorRef(file=name, offset=0, dtype=array.dtype.name, shape=array.shape)  # type: ignore[arg-type]


def _code(packed: np.ndarray, place: int, bits: int) -> int:
    """The code at `place` of a row of bytes that hold the first code in their lowest bits."""
    return int(packed[place * bits // 8]) >> (place * bits % 8) & ((1 << bits) - 1)


def _expected(values: np.ndarray, scales: np.ndarray, zero_points: np.ndarray | None, bits: int, size: int):
    """Weight by weight, as ONNX Runtime documents MatMulNBits."""
    block = values.shape[2] * 8 // bits
    table = np.zeros((len(values), size))
    for row, column in np.ndindex(*table.shape):
        number, place = divmod(column, block)
        zero = 1 << (bits - 1) if zero_points is None else _code(zero_points[row], number, bits)
        table[row, column] = (_code(values[row, number], place, bits) - zero) * float(scales[row, number])
    return table


@pytest.mark.parametrize("scale_dtype", [np.float32, np.float16])
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize(("block_size", "hidden_size"), [(16, 48), (32, 72)])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_rows_of_codes_are_their_values(
    tmp_path: Path, bits: int, block_size: int, hidden_size: int, symmetric: bool, scale_dtype: type
):
    rng, blocks = np.random.default_rng(bits), -(-hidden_size // block_size)
    values = rng.integers(0, 256, (ROWS, blocks, block_size * bits // 8), np.uint8)
    scales = rng.uniform(0.1, 1, (ROWS, blocks)).astype(scale_dtype)
    zero_points = None if symmetric else rng.integers(0, 256, (ROWS, -(-blocks * bits // 8)), np.uint8)
    folder = Folder(tmp_path, hidden_size)
    info = TableInfo(
        bits=bits,  # type: ignore[arg-type]
        block_size=block_size,
        values=folder.put("values", values),
        scales=folder.put("scales", scales),
        zero_points=None if zero_points is None else folder.put("zero_points", zero_points),
    )
    info.check_shape(ROWS, hidden_size)
    table = EmbeddingTable(folder, info)  # type: ignore[arg-type]
    rows = table.rows(IDS)
    assert (len(table), rows.dtype, rows.shape) == (ROWS, np.float32, (4, hidden_size))
    expected = _expected(values, scales, zero_points, bits, hidden_size)
    np.testing.assert_allclose(rows, expected[IDS], rtol=1e-6)


@pytest.mark.parametrize(("bits", "dtype"), [(32, np.float32), (16, np.float16)])
def test_rows_of_floats_are_copies(tmp_path: Path, bits: int, dtype: type):
    """The caller writes media rows into what it gets; the file must not change, whatever its dtype."""
    stored = np.random.default_rng(0).standard_normal((ROWS, 5)).astype(dtype)
    folder = Folder(tmp_path, 5)
    info = TableInfo(
        bits=bits,  # type: ignore[arg-type]
        block_size=None,
        values=folder.put("values", stored),
        scales=None,
        zero_points=None,
    )
    table = EmbeddingTable(folder, info)  # type: ignore[arg-type]
    rows = table.rows(IDS)
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows, stored[IDS].astype(np.float32))
    rows[:] = 7
    np.testing.assert_array_equal(table.rows(IDS), stored[IDS].astype(np.float32))


@pytest.mark.parametrize("packed", [True, False])
def test_a_table_larger_than_memory_costs_only_its_rows(tmp_path: Path, packed: bool):
    """A device with less memory than the table must still be able to read it."""
    rows = 1 << 30
    files = {"values": (rows, 1, 64) if packed else (rows, 64), "scales": (rows, 1)}
    for name, shape in files.items():
        with (tmp_path / name).open("wb") as sparse:
            sparse.truncate(int(np.prod(shape)) * 4)
    dtype = "uint8" if packed else "float32"
    info = TableInfo(
        bits=8 if packed else 32,
        block_size=64 if packed else None,
        values=TensorRef(file="values", offset=0, dtype=dtype, shape=files["values"]),
        scales=TensorRef(file="scales", offset=0, dtype="float32", shape=files["scales"]) if packed else None,
        zero_points=None,
    )
    folder = Folder(tmp_path, 64)
    for name in files:
        folder.files.add(name)
    table = EmbeddingTable(folder, info)  # type: ignore[arg-type]
    assert not table.rows(np.array([0, rows - 1])).any()


@pytest.mark.parametrize(("recipe", "worst"), [("fp32", 0.0), ("int8", 0.01), ("int4", 0.01), ("fp16", 1e-3)])
def test_an_exported_table_holds_the_checkpoints_rows(recipe: str, worst: float):
    bundle = Bundle(small_bundle(recipe=recipe))
    table = EmbeddingTable(bundle, bundle.manifest.decoder.embedding)
    source = decoder_weights(small_checkpoint().sizes, 0)["model.embed_tokens.weight"]
    rows = table.rows(np.arange(len(table)))
    assert rows.shape == source.shape
    assert np.abs(rows - source).max() <= worst * np.abs(source).max()
