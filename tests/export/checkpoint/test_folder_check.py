"""A folder must be one model, whole, or be refused in a line that says what it is and what to do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from edgephi.base.errors import ArtifactError
from edgephi_export import export
from edgephi_export.hub.download import locate
from support.bundles import small_bundle, small_checkpoint
from support.checkpoints import Layout
from support.tensor_files import change_json, change_tensors, write_raw

Change = Callable[[Path], object]
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 4940\n".format("0" * 64)
QUANTIZED = r"quantized already.* the model it was made from, which edgephi quantizes itself"


def _put(name: str, content: bytes | str = b"x") -> Change:
    data = content.encode() if isinstance(content, str) else content
    return lambda folder: (folder / name).write_bytes(data)


def _all(*changes: Change) -> Change:
    return lambda folder: [change(folder) for change in changes]


def _without_weights(*changes: Change) -> Change:
    return _all(lambda folder: (folder / WEIGHTS).unlink(), *changes)


def _only(*changes: Change) -> Change:
    return _without_weights(lambda folder: (folder / "config.json").unlink(), *changes)


def _quantized(method: str, **values: Any) -> Change:
    return lambda folder: change_json(
        folder / "config.json", lambda c: c.update(quantization_config={"quant_method": method, **values})
    )


def _renamed(suffix: str, dtype: Any = np.uint8) -> Change:
    """Every linear as a tool that quantizes would leave it, but config.json does not say so."""

    def change(tensors: dict[str, Any]) -> None:
        for name in [name for name in tensors if "_proj.weight" in name]:
            tensors[name.removesuffix(".weight") + suffix] = tensors.pop(name).astype(dtype)

    return lambda folder: change_tensors(folder / WEIGHTS, change)


def _second_set(folder: Path) -> None:
    for number in (1, 2):
        shutil.copy(
            folder / f"model-0000{number}-of-00002.safetensors", folder / f"model-0000{number}-of-00003.safetensors"
        )


def _unmerged_inside(tensors: dict[str, Any]) -> None:
    for name in [name for name in tensors if "_proj.weight" in name]:
        tensors[name.replace(".weight", ".base_layer.weight")] = tensors.pop(name)


LEFTOVERS: dict[str, tuple[Layout, Change, str]] = {
    "a second set of shards": (
        "original",
        _second_set,
        r"model-00001-of-00003\.safetensors: weights that .*index\.json",
    ),
    "one file beside an index": (
        "phi3",
        lambda f: (f / INDEX).write_text(json.dumps({"weight_map": {"a": "model-00001-of-00001.safetensors"}})),
        r"model\.safetensors: beside model\.safetensors\.index\.json, which names other files",
    ),
    "a variant": ("phi3", _put("model.fp16.safetensors"), r"model\.fp16\.safetensors: weights that model\.safetensors"),
    "a merged copy": ("native", _put("merged.safetensors"), r"merged\.safetensors: weights that model\.safetensors"),
    "consolidated weights": ("phi3", _put("consolidated.safetensors"), r"consolidated\.safetensors: weights that"),
    "consolidated pickles": ("phi3", _put("consolidated.00.pth"), r"consolidated\.00\.pth: weights that"),
    "pickled weights": (
        "phi3",
        _put("pytorch_model.bin"),
        r"pytorch_model\.bin: weights that .*two models, or one twice",
    ),
    "pickled shards": (
        "original",
        _put("pytorch_model-00001-of-00002.bin"),
        r"pytorch_model-00001-of-00002\.bin: weig",
    ),
    "an adapter's pickle": ("native", _put("adapter_model.bin"), r"adapter_model\.bin: a PEFT adapter beside the base"),
    "an adapter in the weights": (
        "phi3",
        lambda f: change_tensors(f / WEIGHTS, _unmerged_inside),
        r"belongs to an adapter that is not merged; load",
    ),
}


@pytest.mark.parametrize("name", LEFTOVERS)
def test_weights_that_nothing_names_are_never_left_out_silently(tmp_path: Path, name: str):
    layout, change, message = LEFTOVERS[name]
    _check_refused(tmp_path, layout, change, message)


FOREIGN: dict[str, tuple[Change, str]] = {
    "HQQ": (_quantized("hqq", bits=4), r"config\.json: .* quantized already \(hqq, "),
    "AWQ": (_quantized("awq"), r"quantized already \(awq, "),
    "bitsandbytes": (_quantized("bitsandbytes", load_in_4bit=True), r"quantized already \(bitsandbytes, "),
    "FP8": (_quantized("fp8"), r"quantized already \(fp8, "),
    "compressed-tensors": (_quantized("compressed-tensors"), r"quantized already \(compressed-tensors, "),
    "MXFP4": (_quantized("mxfp4"), r"quantized already \(mxfp4, "),
    "MLX": (
        lambda f: change_json(f / "config.json", lambda c: c.update(quantization={"bits": 4})),
        r"quantized already \(MLX, ",
    ),
    "GPTQ, unsaid": (_renamed(".qweight", np.int32), QUANTIZED),
    "bitsandbytes, unsaid": (_renamed(".weight.absmax"), QUANTIZED),
    "NF4's state, unsaid": (_renamed(".weight.quant_state.bitsandbytes__nf4"), QUANTIZED),
    "compressed-tensors, unsaid": (_renamed(".weight_packed", np.int32), QUANTIZED),
    "FP8, unsaid": (_renamed(".weight", ml_dtypes.float8_e4m3fn), r"is F8_E4M3; supported: F32.* quantized already"),
    "int8, unsaid": (_renamed(".weight", np.int8), r"is I8; supported: F32, F16, BF16.* quantized already"),
    "a type of half a byte": (
        lambda f: write_raw(f / WEIGHTS, {"a": {"dtype": "F4", "shape": [4], "data_offsets": [0, 2]}}, b"ab"),
        r"tensor a is F4, a type that edgephi does not read; supported: F32",
    ),
    "a newer type": (
        lambda f: write_raw(f / WEIGHTS, {"a": {"dtype": "F8_E8M0", "shape": [4], "data_offsets": [0, 4]}}, b"abcd"),
        r"tensor a is F8_E8M0, a type that edgephi does not read",
    ),
    "LFS weights": (
        _put(WEIGHTS, POINTER),
        r"model\.safetensors: a Git LFS pointer, not the file itself; fetch it with",
    ),
    "LFS tokenizer": (_put("tokenizer.json", POINTER), r"tokenizer\.json: a Git LFS pointer"),
    "LFS config": (_put("config.json", POINTER), r"config\.json: a Git LFS pointer"),
    "pickles only": (
        _without_weights(_put("pytorch_model.bin")),
        r"pickled weights .* save_pretrained\(\), which writes",
    ),
    "other pickles": (_without_weights(_put("model.pt")), r"pickled weights \(\*\.pt\), which can run code"),
    "GGUF": (_only(_put("phi-4-mini-Q4_K_M.gguf")), r"a GGUF model for llama\.cpp"),
    "GGUF with a config": (_without_weights(_put("phi-4-mini-Q4_K_M.gguf")), r"a GGUF model for llama\.cpp"),
    "ONNX": (_only(_put("model.onnx")), r"an ONNX model already"),
    "genai": (_only(_put("genai_config.json", "{}")), r"a model of onnxruntime-genai, already in ONNX"),
    "TensorFlow": (_without_weights(_put("tf_model.h5")), r"weights of TensorFlow"),
    "weights of another name": (
        lambda f: (f / WEIGHTS).rename(f / "phi.safetensors"),
        r"phi\.safetensors is there: rename it to model\.safetensors",
    ),
    "another architecture": (
        lambda f: change_json(f / "config.json", lambda c: c.update(model_type="phimoe")),
        r"unknown model_type 'phimoe'; supported: .*Phi-4-multimodal and Phi-4-mini",
    ),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_what_is_no_checkpoint_for_edgephi_is_named(tmp_path: Path, name: str):
    change, message = FOREIGN[name]
    _check_refused(tmp_path, "phi3", change, message)


def test_an_edgephi_folder_is_named(tmp_path: Path):
    with pytest.raises(ArtifactError, match=r"is an edgephi model folder already; use it as it is: edgephi run"):
        export(small_bundle("phi3"), tmp_path / "out")


@pytest.mark.parametrize("name", ["model.safetensors", "model.safetensors.index.json"])
def test_a_link_into_a_cache_that_was_cleared_is_named(tmp_path: Path, name: str):
    folder = _copy("phi3", tmp_path)
    (folder / "model.safetensors").unlink()
    (folder / name).symlink_to(tmp_path / "blobs" / "gone")
    with pytest.raises(ArtifactError, match=f"{name}: a link to a file that is not there; download"):
        export(folder, tmp_path / "out")


def test_files_that_are_no_weights_may_lie_beside(tmp_path: Path):
    """What trainers and converters leave: optimizer states, logs, a GGUF made from the same checkpoint."""
    folder = _copy("phi3", tmp_path)
    for name in (
        "optimizer.pt",
        "scheduler.pt",
        "rng_state.pth",
        "training_args.bin",
        "model.gguf",
        "trainer_state.json",
    ):
        (folder / name).write_bytes(b"x")
    (folder / "runs").mkdir()
    (folder / "image.png").write_text(POINTER)
    assert export(folder, tmp_path / "out").is_dir()


def test_an_index_of_one_file_may_lie_beside_it(tmp_path: Path):
    folder = _copy("phi3", tmp_path)
    (folder / INDEX).write_text(json.dumps({"weight_map": {"model.norm.weight": WEIGHTS}}))
    assert export(folder, tmp_path / "out").is_dir()


@pytest.mark.parametrize(
    ("place", "name", "revision"),
    [
        ("models--microsoft--Phi-4-mini-instruct/snapshots/5a14955", "microsoft/Phi-4-mini-instruct", "5a14955"),
        ("models--me--my--tuned.v2/snapshots/0123abc", "me/my--tuned.v2", "0123abc"),
        ("models--gpt2/snapshots/0123abc", "0123abc", None),
        ("snapshots/5a14955", "5a14955", None),
    ],
)
def test_a_folder_of_the_hubs_cache_keeps_its_models_name(tmp_path: Path, place: str, name: str, revision: str | None):
    folder = tmp_path / place
    folder.mkdir(parents=True)
    located = locate(folder)
    assert (located.id, located.revision) == (name, revision)


def _check_refused(tmp_path: Path, layout: Layout, change: Change, message: str) -> None:
    folder = _copy(layout, tmp_path)
    change(folder)
    with pytest.raises(ArtifactError, match=message) as caught:
        export(folder, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def _copy(layout: Layout, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_checkpoint(layout).path, tmp_path / "checkpoint"))
