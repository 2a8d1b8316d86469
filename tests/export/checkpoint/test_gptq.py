"""Codes that another tool found must arrive in the model folder as they are, or be refused by name."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgephi import Model, SamplingOptions
from edgephi.base.errors import ArtifactError, ConfigError
from edgephi.bundle.bundle import Bundle
from edgephi.bundle.tensor_index import StoredTensorInfo
from edgephi_export import ExportOptions, export
from edgephi_export.checkpoint.checkpoint import open_checkpoint
from edgephi_export.checkpoint.selection import choose
from support.bundles import small_checkpoint
from support.gptq_files import Coded, set_quantization, write_gptq
from support.tensor_files import change_tensors

DOWN, QKV = "layers.1.mlp.down_proj", "layers.0.self_attn.qkv_proj"
Change = Callable[[Path], object]


def _stored(folder: Path) -> dict[str, StoredTensorInfo]:
    return {info.name: info for info in Bundle(folder).tensor_index().tensors}


def _check_kept(folder: Path, name: str, coded: Coded, *, group_size: int, sym: bool) -> None:
    """Codes, scales and zero points in the folder are those of the checkpoint, each in ONNX Runtime's place."""
    info, bundle = _stored(folder)[name], Bundle(folder)
    assert info.format == f"int4:{group_size}" + (":symmetric" if sym else "")
    packed = np.asarray(bundle.tensor(info.values))
    codes = np.stack([packed & 15, packed >> 4], axis=-1).reshape(len(packed), -1)
    np.testing.assert_array_equal(codes, coded.codes.T)
    assert info.scales is not None
    np.testing.assert_array_equal(bundle.tensor(info.scales), coded.scales.T.astype(np.float32))
    if sym:
        assert info.zero_points is None
        return
    assert info.zero_points is not None
    pairs = np.asarray(bundle.tensor(info.zero_points))
    zero_points = np.stack([pairs & 15, pairs >> 4], axis=-1).reshape(len(pairs), -1)
    np.testing.assert_array_equal(zero_points[:, : len(coded.scales)], coded.zero_points.T)


@pytest.mark.parametrize(
    ("group_size", "sym", "v2"), [(32, False, False), (64, True, False), (128, False, True), (128, True, True)]
)
def test_codes_scales_and_zero_points_are_kept_bit_for_bit(tmp_path: Path, group_size: int, sym: bool, v2: bool):
    coded = write_gptq(tmp_path / "c", group_size=group_size, sym=sym, v2=v2)
    folder = export(tmp_path / "c", tmp_path / "m", ExportOptions(recipe="int8"))
    assert len(coded) == 8
    for name, linear in coded.items():
        _check_kept(folder, name, linear, group_size=group_size, sym=sym)
    assert _stored(folder)["lm_head"].format == "int8:32"  # what the checkpoint has as floats follows the recipe


def test_the_model_answers_as_the_values_that_the_codes_stand_for(tmp_path: Path):
    """Each linear in its place and the right way round: int4 and floats of the same values say nearly the same."""
    write_gptq(tmp_path / "c")
    logits = []
    for recipe in ("int8", "fp32"):
        with Model.load(export(tmp_path / "c", tmp_path / recipe, ExportOptions(recipe=recipe))) as model:
            logits.append(model.logits(np.arange(20, 60), rows="all"))
            assert len(model.generate("hello", options=SamplingOptions(max_new_tokens=3)).token_ids) > 0
    error = ((logits[0] - logits[1]) ** 2).sum() / (logits[1] ** 2).sum()
    assert 10 * np.log10(error) < -25


def test_any_rows_are_read_as_the_values_of_their_codes(tmp_path: Path):
    """Chunks of an export begin and end anywhere, also within a word of zero points."""
    coded = write_gptq(tmp_path / "c")
    weights = open_checkpoint(tmp_path / "c", choose("none", ("text",), ("text",))).weights
    for name in (QKV, DOWN):
        np.testing.assert_array_equal(weights.read(f"{name}.weight"), coded[name].values)
        part = weights.lazy(f"{name}.weight").rows(3, 40)
        np.testing.assert_array_equal(part.read_rows(2, 21), coded[name].values[5:24])
        assert part.codes is not None
        np.testing.assert_array_equal(part.codes.read_rows(2, 21).values(256), coded[name].values[5:24])


def test_linears_that_stayed_floats_follow_the_recipe_and_rules_of_the_user_count_more(tmp_path: Path):
    coded = write_gptq(tmp_path / "c", linears="down_proj")
    options = ExportOptions(recipe="int4", overrides=("layers.0.mlp.down_proj=int8:64",))
    folder = export(tmp_path / "c", tmp_path / "m", options)
    stored = _stored(folder)
    assert stored[QKV].format == "int4:32"
    assert stored["layers.0.mlp.down_proj"].format == "int8:64"
    _check_kept(folder, DOWN, coded[DOWN], group_size=32, sym=False)
    assert "layers.*.mlp.down_proj" in [rule.pattern for rule in Bundle(folder).manifest.recipe.rules]


def test_checkpoints_of_auto_round_are_read(tmp_path: Path):
    coded = write_gptq(tmp_path / "c", group_size=64, sym=True)
    set_quantization(
        tmp_path / "c", quant_method="auto-round", packing_format="auto_round:auto_gptq", checkpoint_format=None,
        autoround_version="0.16.1", iters=200, data_type="int", act_bits=16,
        extra_config={"model.layers.0.mlp.gate": {"bits": 16}},
    )  # fmt: skip
    folder = export(tmp_path / "c", tmp_path / "m", ExportOptions(recipe="int8"))
    _check_kept(folder, DOWN, coded[DOWN], group_size=64, sym=True)


def _says(**values: Any) -> Change:
    return lambda folder: set_quantization(folder, **values)


def _part(part: str, change: Callable[[Any], Any]) -> Change:
    """Change one part of one linear; None removes it."""
    name = f"model.{DOWN}.{part}"

    def apply(tensors: dict[str, Any]) -> None:
        changed = change(tensors.pop(name))
        if changed is not None:
            tensors[name] = changed

    return lambda folder: change_tensors(folder / "model.safetensors", apply)


REFUSALS: dict[str, tuple[Change, str]] = {
    "other bits": (_says(bits=8), r"bits is 8; of GPTQ checkpoints only 4 bits are read; export the model"),
    "no bits": (_says(bits=None), r"quantization_config: bits is None"),
    "one group": (_says(group_size=-1), r"group_size is -1; groups of 16, 32, 64, 128 or 256 are read"),
    "Marlin's order": (_says(checkpoint_format="marlin"), r"format of the codes is 'marlin'; gptq and gptq_v2 are"),
    "two formats": (_says(format="gptq_v2"), r"format of the codes is 'gptq and gptq_v2'"),
    "AutoRound in AWQ's order": (
        _says(quant_method="auto-round", packing_format="auto_round:auto_awq"),
        r"format of the codes is 'auto_round:auto_awq'",
    ),
    "a format for one linear": (_says(dynamic={"+:.*down.*": {"bits": 8}}), r"dynamic gives '\+:\.\*down\.\*' a form"),
    "mixed bits": (_says(extra_config={"a": {"bits": 8}}), r"extra_config gives 'a' a format of its own"),
    "words of bytes": (_says(pack_dtype="int8"), r"pack_dtype is 'int8'; only 'int32' is read"),
    "floats of four bits": (_says(data_type="mx_fp"), r"data_type is 'mx_fp'"),
    "activations": (_says(act_bits=8), r"act_bits is 8; quantized activations are not read"),
    "a coded head": (_says(lm_head=True), r"unknown setting 'lm_head'; it may change the meaning of the codes"),
    "a rotation": (_says(rotation="hadamard"), r"unknown setting 'rotation'"),
    "act-order": (_part("g_idx", lambda v: v[::-1].copy()), r"g_idx puts inputs into groups by activation order"),
    "a short g_idx": (_part("g_idx", lambda v: v[:8]), r"g_idx is I32 \[8\]"),
    "no scales": (_part("scales", lambda _: None), r"scales beside tensor .*down_proj\.qweight is missing"),
    "scales as numbers": (_part("scales", lambda v: v.astype(np.int32)), r"scales is I32; supported: F32, F16, BF16"),
    "an infinite scale": (_part("scales", lambda v: v * np.float16(np.inf)), r"scales holds NaN or infinity"),
    "codes of another shape": (_part("qweight", lambda v: v[:4]), r"qweight is I32 \[4, 256\]; .* for I32 \[32, 256\]"),
    "codes of another type": (_part("qweight", lambda v: v.view(np.float32)), r"qweight is F32 .*asks for I32"),
    "a zero point of 0 or 16": (_part("qzeros", lambda v: v * 0 - 1), r"cannot tell from 16.* save .* gptq_v2"),
    "not symmetric": (_says(sym=True), r"other zero points than 8, though the config says sym"),
    "a bias": (
        lambda f: change_tensors(f / "model.safetensors", lambda t: t.update({f"model.{DOWN}.bias": np.ones(256)})),
        r"unexpected tensor model\.layers\.1\.mlp\.down_proj\.bias",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One to copy."""
    folder = tmp_path_factory.mktemp("coded") / "c"
    write_gptq(folder)
    return folder


@pytest.mark.parametrize("name", REFUSALS)
def test_what_is_stored_otherwise_is_refused_in_one_line(tmp_path: Path, checkpoint: Path, name: str):
    change, message = REFUSALS[name]
    shutil.copytree(checkpoint, tmp_path / "c")
    change(tmp_path / "c")
    with pytest.raises(ArtifactError, match=message) as caught:
        export(tmp_path / "c", tmp_path / "out", ExportOptions(recipe="int8"))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_codes_of_phi_4_multimodal_are_refused_by_name(tmp_path: Path):
    """No tool is known to write them, and adapters would come on top of codes that were found without them."""
    folder = shutil.copytree(small_checkpoint("native").path, tmp_path / "c")
    set_quantization(folder)
    with pytest.raises(
        ArtifactError, match=r"quantized already \(gptq, says quantization_config\); export the model it"
    ):
        export(folder, tmp_path / "out")


def test_codes_are_not_solved_anew(tmp_path: Path):
    """An export that seemed to improve a checkpoint's codes, and kept them, would mislead."""
    write_gptq(tmp_path / "c")
    examples = tmp_path / "examples"
    examples.mkdir()
    (examples / "examples.jsonl").write_text('{"messages": "hello", "answer": "hi"}\n')
    options = ExportOptions(recipe="int4", method="gptq", calibration=(examples,))
    with pytest.raises(ConfigError, match=r"--method gptq: the checkpoint holds codes, which are kept as they are"):
        export(tmp_path / "c", tmp_path / "out", options)
