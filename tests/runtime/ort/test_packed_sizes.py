"""What a packed weight takes: as it was measured, and as the files of every recipe add up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgephi.bundle.bundle import Bundle
from edgephi.bundle.tensor_index import StoredTensorInfo
from edgephi.ort.packed_sizes import is_quantized, packed_bytes
from edgephi_export import ExportOptions, export
from edgephi_export.checkpoint.lazy_tensor import computed
from edgephi_export.weights.plan import WeightPlan
from edgephi_quantize.recipe import ONE_PURPOSE, RECIPES, make_recipe, parse_rule

NANO = Path(__file__).parents[3] / "nano/checkpoint"
PAGE = 4096


def _stored(format_: str, shape: tuple[int, int]) -> StoredTensorInfo:
    """A matrix as an export places it."""
    plan = WeightPlan(make_recipe("fp32", overrides=(parse_rule(f"x={format_}"),)))
    return plan.place_linear("decoder", computed("x", shape, lambda: np.zeros(shape, np.float32), 0))


# What ONNX Runtime 1.31 held after packing a matrix of 3072 x 32768, its own overhead of 0.11 taken off.
@pytest.mark.parametrize(
    ("format_", "bits"),
    [
        ("int4:32", 6.0),
        ("int4:32:symmetric", 6.0),
        ("int4:64", 5.0),
        ("int4:128", 4.5),
        ("int4:256", 4.25),
        ("int8:32", 10.0),
        ("int8:128", 8.5),
        ("int2:64", 3.0),
        ("int2:128", 2.5),
    ],
)
def test_packed_blocks_take_what_was_measured(format_: str, bits: float):
    assert packed_bytes(_stored(format_, (1000, 3072))) == 1000 * 3072 * bits / 8


def test_floats_and_codes_with_a_scale_for_each_row_take_what_is_stored():
    assert packed_bytes(_stored("float32", (7, 5))) == 7 * 5 * 4
    assert packed_bytes(_stored("int8:rows", (7, 5))) == 7 * 5 + 7 * 4


def test_a_row_that_does_not_fill_its_last_block_takes_the_whole_block():
    assert packed_bytes(_stored("int4:128", (3, 130))) == packed_bytes(_stored("int4:128", (3, 256))) == 432
    assert packed_bytes(_stored("int4:256", (192, 192))) == 192 * (128 + 8)


def _by_format(tensor: StoredTensorInfo) -> int:
    """Counted from the format's name and the shape, without the places of the parts."""
    family, _, rest = tensor.format.partition(":")
    block = rest.partition(":")[0]
    if not block.isdigit():
        itemsize = {"float32": 4, "float16": 2, "int8": 1}[family]
        scales = 0 if family != "int8" else tensor.shape[0] * 4
        return int(np.prod(tensor.shape)) * itemsize + scales
    rows, columns = tensor.shape
    return rows * -(-columns // int(block)) * (int(block) * int(family.removeprefix("int")) // 8 + 8)


@pytest.mark.parametrize("recipe", [name for name in RECIPES if name != ONE_PURPOSE])
def test_packed_sizes_follow_from_the_files_of_every_recipe(tmp_path: Path, recipe: str):
    method = "rtn" if recipe.startswith("int") else None  # the sizes are those of any method
    folder = export(NANO, tmp_path / "m", ExportOptions(recipe=recipe, method=method))
    bundle = Bundle(folder)
    tensors = bundle.tensor_index().tensors
    for part in ("decoder", "adapter_vision", "adapter_speech", "vision", "speech"):
        held = [tensor for tensor in tensors if tensor.part == part]
        refs = [ref for tensor in held for ref in tensor.tensors]
        gaps = sum(-ref.num_bytes % PAGE for ref in refs[:-1])
        blocks = [tensor for tensor in held if tensor.zero_points or tensor.format.endswith("symmetric")]
        dropped = sum(tensor.num_bytes - tensor.values.num_bytes for tensor in blocks)
        added = sum(8 * int(np.prod(tensor.scales.shape)) for tensor in blocks if tensor.scales)
        size = (folder / "weights" / f"{part}.bin").stat().st_size
        assert sum(map(packed_bytes, held)) == size - gaps - dropped + added
        assert [packed_bytes(tensor) for tensor in held] == [_by_format(tensor) for tensor in held]
        assert all(is_quantized(tensor) == tensor.format.startswith("int") for tensor in held)


#: Inputs and outputs of a layer's linears, and of the head, of the real decoder.
LINEARS = {
    "qkv_proj": (3072, 5120),
    "o_proj": (3072, 3072),
    "gate_up_proj": (3072, 16384),
    "mlp.down_proj": (8192, 3072),
}
LAYERS, HEAD_SHAPE = 32, (200064, 3072)


def _step_bytes(recipe: str, rank: int) -> float:
    """What a step of the real decoder reads with an adapter or a correction of this rank."""

    def size(name: str, outputs: int, inputs: int) -> float:
        return packed_bytes(_stored(str(RECIPES[recipe].format_of(name)), (outputs, inputs)))

    total = size("lm_head", *HEAD_SHAPE)
    for kind, (inputs, outputs) in LINEARS.items():
        name = f"layers.0.{kind}"
        pair = size(f"{name}.lora_A.x", rank, inputs) + size(f"{name}.lora_B.x", outputs, rank)
        total += LAYERS * (size(name, outputs, inputs) + pair)
    return total


@pytest.mark.parametrize(("rank", "gigabytes"), [(320, 1.93), (256, 1.81)], ids=["speech", "vision"])
def test_a_folder_of_one_purpose_reads_three_quarters_of_what_int4_fast_does(rank: int, gigabytes: float):
    """Of the real model, with the adapter of speech or vision on in both."""
    small = _step_bytes(ONE_PURPOSE, rank)
    assert small / 1e9 == pytest.approx(gigabytes, abs=0.01)
    assert small <= 0.75 * _step_bytes("int4-fast", rank)
