"""A folder for transformers.js: names by the type of the weights, files that a browser can hold, known operators."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest

from edgephi.base.errors import ConfigError
from edgephi_export import ExportOptions, export
from edgephi_export.layouts.causal_lm.layout import GraphPlace
from edgephi_export.layouts.record import ExportRecord
from edgephi_export.layouts.transformersjs.layout import TransformersJsLayout
from support.bundles import small_checkpoint

#: As transformers.js 4 names files: DEFAULT_DTYPE_SUFFIX_MAPPING.
SUFFIXES = {"fp32": ("fp32", ""), "int8": ("q8", "_quantized"), "int4": ("q4", "_q4"), "int4-fast": ("q4", "_q4")}


@pytest.fixture(scope="module", params=SUFFIXES)
def recipe(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def folder(recipe: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp(recipe) / "out"
    return export(small_checkpoint("original").path, out, ExportOptions(recipe=recipe, layout="transformersjs"))


def test_the_graph_is_found_by_its_type(folder: Path, recipe: str):
    dtype, suffix = SUFFIXES[recipe]
    section = json.loads((folder / "config.json").read_text())["transformers.js_config"]
    assert section == {"dtype": dtype, "use_external_data_format": {f"model{suffix}.onnx": 1}}
    assert {path.name for path in (folder / "onnx").iterdir()} == {f"model{suffix}.onnx", f"model{suffix}.onnx_data"}
    assert f"dtype: '{dtype}'" in (folder / "README.md").read_text()


def test_a_recipe_that_the_library_has_no_name_for_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="recipe int2-absorbed is not for --layout transformersjs: use fp32, int8"):
        export(
            small_checkpoint("original").path,
            tmp_path / "out",
            ExportOptions(recipe="int2-absorbed", layout="transformersjs"),
        )


def test_browsers_have_every_operator(folder: Path):
    """Their build of ONNX Runtime has no kernel of GatherBlockQuantized for the CPU."""
    (path,) = (folder / "onnx").glob("*.onnx")
    special = {node.op_type for node in ir.load(path).graph if node.domain == "com.microsoft"}
    always = {"GroupQueryAttention", "QuickGelu", "SkipSimplifiedLayerNormalization"}
    assert special - always <= {"MatMulNBits", "FusedMatMul"}


def test_only_the_asked_rows_of_logits_are_made(folder: Path):
    """All rows of a long prompt are gigabytes, in a browser that has four."""
    (path,) = (folder / "onnx").glob("*.onnx")
    session = ort.InferenceSession(path)
    sizes = {value.name: value.shape for value in session.get_inputs()}
    feed = {name: np.zeros((1, s[1], 0, s[3]), np.float32) for name, s in sizes.items() if name.startswith("past_")}
    ids = np.array([[5, 9, 11, 2]])
    feed |= {"input_ids": ids, "attention_mask": np.ones_like(ids), "position_ids": np.arange(4)[None]}
    (whole,) = session.run(["logits"], feed | {"num_logits_to_keep": np.array(0)})
    for count in (1, 3, 4, 9):
        (kept,) = session.run(["logits"], feed | {"num_logits_to_keep": np.array(count)})
        assert kept.shape == (1, min(count, 4), 400)
        np.testing.assert_allclose(kept, whole[:, -count:], atol=1e-5)


def test_the_tables_of_a_large_context_are_cut(folder: Path):
    """A browser could not hold the keys and values of 131,072 tokens; their tables would be another 52 MB."""
    (path,) = (folder / "onnx").glob("*.onnx")
    table = ir.load(path).graph.initializers["rotary.cos"]
    assert table.shape is not None
    assert table.shape[0] == 4096 + 8192


def test_weights_are_cut_into_files_that_a_browser_can_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Called `_data`, `_data_1`, ... as the library asks for them; a tensor larger than the limit has its own."""
    limit = 200_000

    def place(self: TransformersJsLayout, recipe: str) -> GraphPlace:
        return GraphPlace(folder="onnx", graph="model_q4.onnx", most_bytes=limit, dtype="q4")

    checkpoint = small_checkpoint("original").path
    whole = export(checkpoint, tmp_path / "whole", ExportOptions(layout="transformersjs"))
    monkeypatch.setattr(TransformersJsLayout, "place", place)
    out = export(checkpoint, tmp_path / "cut", ExportOptions(layout="transformersjs"))
    files = [info for info in ExportRecord.load(out).files if "_data" in info.path]
    assert len(files) > 3
    numbered = [f"onnx/model_q4.onnx_data{'' if not i else f'_{i}'}" for i in range(len(files))]
    assert {info.path for info in files} == set(numbered)
    section = json.loads((out / "config.json").read_text())["transformers.js_config"]
    assert section["use_external_data_format"] == {"model_q4.onnx": len(files)}
    graph = ir.load(out / "onnx/model_q4.onnx").graph
    for info in files:
        held = [
            value.name
            for value in graph.initializers.values()
            if isinstance(value.const_value, ir.ExternalTensor) and f"onnx/{value.const_value.location}" == info.path
        ]
        assert held
        assert info.bytes <= limit or len({name.rpartition(".")[0] for name in held}) == 1
    logits = [_logits(folder) for folder in (whole, out)]
    np.testing.assert_array_equal(*logits)


def _logits(folder: Path) -> np.ndarray:
    session = ort.InferenceSession(folder / "onnx/model_q4.onnx")
    feed = {v.name: np.zeros((1, v.shape[1], 0, v.shape[3]), np.float32) for v in session.get_inputs()[3:] if v.shape}
    ids = np.array([[5, 9, 11]])
    feed |= {"input_ids": ids, "attention_mask": np.ones_like(ids), "position_ids": np.arange(3)[None]}
    (logits,) = session.run(["logits"], feed | {"num_logits_to_keep": np.array(1)})
    return logits
