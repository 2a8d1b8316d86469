"""What lands in `weights/*.bin` must be exactly what the plan and the graphs say, however many threads wrote it."""

from __future__ import annotations

import hashlib
import itertools
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest

from edgephi.base.errors import ArtifactError, ConfigError
from edgephi.bundle.block_hashes import BLOCK_BYTES
from edgephi.bundle.tensor_ref import TensorRef
from edgephi.decoder.dequantize import dequantize
from edgephi.decoder.row_codes import quantize_rows
from edgephi_export.checkpoint.lazy_tensor import LazyTensor
from edgephi_export.progress import Meter, Progress
from edgephi_export.weights.file import WeightsFile
from edgephi_export.weights.plan import ALIGNMENT_BYTES, WeightPlan, as_table
from edgephi_export.weights.writer import write_weights
from edgephi_quantize.methods import get_method
from edgephi_quantize.recipe import make_recipe, parse_rule


def _lazy(name: str, values: np.ndarray) -> LazyTensor:
    return LazyTensor(
        name=name, shape=values.shape, read_rows=lambda a, b: values[a:b], source_bytes=values.nbytes // 2
    )


def _meter(plan: WeightPlan, progress: list[Progress] | None = None) -> Meter:
    totals = Progress(
        stage="",
        total_tensors=sum(map(len, plan.files.values())),
        total_read_bytes=plan.source_bytes,
        total_written_bytes=plan.num_bytes,
    )
    return Meter(totals, None if progress is None else progress.append)


def _read(folder: Path, ref: TensorRef | None) -> np.ndarray:
    assert ref is not None
    return np.memmap(folder / ref.file, ref.dtype, "r", ref.offset, ref.shape)


@pytest.fixture
def matrix() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((70, 90)).astype(np.float32)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several chunks for each tensor, the last one shorter."""
    monkeypatch.setattr("edgephi_export.checkpoint.lazy_tensor._CHUNK_VALUES", 90 * 16)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("text", ["int4:32", "int8:32", "int2:64", "int4:128:symmetric", "int8:16:symmetric"])
def test_blocks_read_back_are_the_methods_own(tmp_path: Path, matrix: np.ndarray, text: str):
    plan = WeightPlan(make_recipe("int4", method="rtn", overrides=[parse_rule(f"x={text}")]))
    info = plan.place_linear("decoder", _lazy("x", matrix))
    write_weights(plan, tmp_path, 2, _meter(plan))
    format_ = plan.recipe.format_of("x")
    table = as_table(info, format_)
    zero_points = _read(tmp_path, table.zero_points) if table.zero_points else None
    stored = dequantize(
        _read(tmp_path, table.values), _read(tmp_path, table.scales), zero_points, bits=table.bits, size=90
    )
    np.testing.assert_array_equal(stored, get_method("rtn").quantize(matrix, format_).values(90))  # type: ignore[arg-type]


@pytest.mark.usefixtures("small_chunks")
def test_rows_are_stored_transposed_with_one_scale_per_output(tmp_path: Path, matrix: np.ndarray):
    plan = WeightPlan(make_recipe("int4", overrides=[parse_rule("x=int8:rows")]))
    info = plan.place_linear("vision", _lazy("x", matrix))
    write_weights(plan, tmp_path, 2, _meter(plan))
    codes, scales = quantize_rows(matrix)
    np.testing.assert_array_equal(_read(tmp_path, info.values), codes.T)
    np.testing.assert_array_equal(_read(tmp_path, info.scales), scales)


def test_rows_need_the_memory_of_their_bytes_and_not_of_their_floats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A matrix of gate_up at true size is 201 MB of floats, and every thread would hold one."""
    monkeypatch.setattr("edgephi_export.checkpoint.lazy_tensor._CHUNK_VALUES", 1 << 16)
    plan = WeightPlan(make_recipe("int4", overrides=[parse_rule("x=int8:rows")]))
    tensor = LazyTensor(
        name="x", shape=(2048, 2000), read_rows=lambda a, b: np.ones((b - a, 2000), np.float32), source_bytes=8_192_000
    )
    plan.place_linear("vision", tensor)
    tracemalloc.start()
    try:
        write_weights(plan, tmp_path, 2, _meter(plan))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2 * 2048 * 2000


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("recipe", ["fp32", "int4", "int4-fast", "int4-gpu", "fp16"])
def test_files_are_the_same_for_any_number_of_threads(tmp_path: Path, matrix: np.ndarray, recipe: str):
    infos = []
    for threads in (1, 2, 5):
        plan = WeightPlan(make_recipe(recipe))
        for part in ("decoder", "speech"):
            for name in ("layers.0.mlp.down_proj", "layers.0.mlp.gate_up_proj"):
                plan.place_linear(part, _lazy(f"{part}.{name}", matrix))  # type: ignore[arg-type]
            plan.place_array(part, _lazy(f"{part}.norm", matrix[0]), plan.recipe.activations)  # type: ignore[arg-type]
        infos.append(write_weights(plan, tmp_path / str(threads), threads, _meter(plan)))
    assert infos[0] == infos[1] == infos[2]
    for written in infos[0]:
        info = written.info
        data = (tmp_path / "1" / info.path).read_bytes()
        parts = [data[start : start + BLOCK_BYTES] for start in range(0, len(data), BLOCK_BYTES)]
        assert [*written.blocks] == [f"{zlib.crc32(part):08x}" for part in parts]
        assert (len(data), hashlib.sha256(data).hexdigest()) == (info.bytes, info.sha256)


def test_the_plan_knows_the_size_before_anything_is_read(tmp_path: Path, matrix: np.ndarray):
    plan = WeightPlan(make_recipe("int4"))
    plan.place_linear("decoder", _lazy("lm_head", matrix))
    plan.place_array("vision", _lazy("v", matrix[:, 0]), "float32")
    plan.place_linear("adapter_speech", _lazy("x.lora_A.speech", matrix))
    progress: list[Progress] = []
    infos = write_weights(plan, tmp_path, 1, _meter(plan, progress))
    assert sum(written.info.bytes for written in infos) == plan.num_bytes
    last = progress[-1]
    assert (last.tensors, last.read_bytes) == (last.total_tensors, last.total_read_bytes)
    assert 0.5 * last.total_written_bytes < last.written_bytes <= last.total_written_bytes


def test_every_part_of_every_tensor_starts_at_a_page(matrix: np.ndarray):
    plan = WeightPlan(make_recipe("int4"))
    infos = [plan.place_linear("decoder", _lazy(f"layers.{i}.mlp.down_proj", matrix)) for i in range(3)]
    refs = [ref for info in infos for ref in info.tensors]
    assert len(refs) == 9
    assert all(ref.offset % ALIGNMENT_BYTES == 0 for ref in refs)
    for ref, following in itertools.pairwise(refs):
        assert ref.offset + ref.num_bytes <= following.offset


def test_a_weight_that_two_graphs_share_is_stored_once(matrix: np.ndarray):
    plan = WeightPlan(make_recipe("int4"))
    first = plan.place_linear("decoder", _lazy("lm_head", matrix))
    size = plan.num_bytes
    assert plan.place_linear("decoder", _lazy("lm_head", matrix)) == first
    assert plan.num_bytes == size


def test_float16_refuses_what_it_cannot_hold(tmp_path: Path):
    """Rounded to infinity, one weight would make every answer NaN."""
    plan = WeightPlan(make_recipe("fp16"))
    plan.place_linear("decoder", _lazy("x", np.full((2, 2), 70000, np.float32)))
    with pytest.raises(ConfigError, match=r"tensor x holds 70000, float16 ends at 65504; choose a recipe"):
        write_weights(plan, tmp_path, 2, _meter(plan))


def test_values_that_no_scale_can_span_are_refused_by_name(tmp_path: Path):
    plan = WeightPlan(make_recipe("int4"))
    plan.place_linear("decoder", _lazy("x", np.array([[3e38, -3e38]], np.float32)))
    with pytest.raises(ArtifactError, match="tensor x: "):
        write_weights(plan, tmp_path, 2, _meter(plan))


@pytest.mark.parametrize("recipe", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("factor", [2.0, -2.0])
def test_values_that_overflow_after_reading_are_refused_by_name(tmp_path: Path, recipe: str, factor: float):
    """Read as finite, scaled or merged to infinity: a float32 bundle would be written and answer NaN."""
    plan = WeightPlan(make_recipe(recipe))
    plan.place_linear("decoder", _lazy("x", np.full((2, 2), 3e38, np.float32)).scaled(factor))
    with pytest.raises(ArtifactError, match="tensor x: a weight is infinite"):
        write_weights(plan, tmp_path, 1, _meter(plan))


def test_a_reader_that_fails_stops_everything(tmp_path: Path, matrix: np.ndarray):
    def read(start: int, stop: int) -> np.ndarray:
        raise ArtifactError("shard.safetensors: tensor y holds NaN or infinity")

    plan = WeightPlan(make_recipe("int4"))
    plan.place_linear("decoder", _lazy("x", matrix))
    plan.place_linear("decoder", LazyTensor(name="y", shape=(4, 4), read_rows=read, source_bytes=32))
    with pytest.raises(ArtifactError, match="tensor y holds NaN"):
        write_weights(plan, tmp_path, 2, _meter(plan))


@pytest.mark.parametrize("offset", [0, 4096])
def test_bytes_at_the_wrong_place_are_our_own_bug(tmp_path: Path, offset: int):
    with WeightsFile(tmp_path, "x.bin") as file:
        file.start(TensorRef(file="x.bin", offset=4100, dtype="uint8", shape=(2,)))
        file.write(np.ones(1, np.uint8))
        with pytest.raises(ValueError, match=r"x\.bin: 1 bytes were written for shape"):
            file.end(TensorRef(file="x.bin", offset=4100, dtype="uint8", shape=(2,)))
        with pytest.raises(ValueError, match=r"x\.bin: 4,101 bytes are written, a tensor should begin at"):
            file.start(TensorRef(file="x.bin", offset=offset, dtype="uint8", shape=(2,)))


def test_a_transposed_view_is_written_row_by_row(tmp_path: Path):
    matrix = np.arange(6, dtype=np.float32).reshape(2, 3)
    with WeightsFile(tmp_path, "x.bin") as file:
        file.write(matrix.T)
    np.testing.assert_array_equal(np.fromfile(tmp_path / "x.bin", np.float32), matrix.T.reshape(-1))
