"""Folders for optimum and transformers.js: what these will read, and a graph that answers as edgephi does.

The runtimes themselves are not needed here: the graph is run as they run it. tests/optimum and tests/transformersjs run
the real ones.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest
from numpy.typing import NDArray

from edgephi import Model
from edgephi.base.errors import ArtifactError, ConfigError
from edgephi.bundle.bundle import MANIFEST_NAME, Bundle, file_sha256
from edgephi_export import ExportOptions, export
from edgephi_export.layouts.record import RECORD_NAME, ExportRecord
from edgephi_export.layouts.registry import LAYOUTS
from edgephi_export.options import LayoutName
from support.bundles import small_checkpoint
from support.cases import words
from support.checkpoints import write_checkpoint
from support.sizes import SMALL

#: LongRoPE's boundary and the context, small enough to cross both in a test.
BOUNDARY, POSITIONS = 24, 64
IDS = words("causal", POSITIONS + 1)
GRAPHS = {"optimum": "model.onnx", "transformersjs": "onnx/model.onnx"}
CROSSED = f"grew beyond {BOUNDARY} tokens: give all of it at once, without a cache"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sizes = replace(SMALL, original_positions=BOUNDARY, max_positions=POSITIONS)
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint") / "small", sizes=sizes).path


@pytest.fixture(scope="module")
def model(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    options = ExportOptions(recipe="fp32", adapters="none")
    with Model.load(export(checkpoint, tmp_path_factory.mktemp("edgephi") / "out", options)) as model:
        yield model


@dataclass(frozen=True, slots=True)
class ExportedFolder:
    layout: LayoutName
    path: Path

    @property
    def graph(self) -> Path:
        return self.path / GRAPHS[self.layout]


@pytest.fixture(scope="module", params=sorted(GRAPHS))
def folder(
    request: pytest.FixtureRequest, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> ExportedFolder:
    out = tmp_path_factory.mktemp(request.param) / "out"
    return ExportedFolder(request.param, export(checkpoint, out, ExportOptions(recipe="fp32", layout=request.param)))


class _Fed:
    """Feeds a graph as these runtimes do: caches that a pass gives go into the next."""

    def __init__(self, graph: Path, heads: int | None = None) -> None:
        options = ort.SessionOptions()
        options.log_severity_level = 4
        self._session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self.inputs = {value.name: value.shape for value in self._session.get_inputs()}
        self._heads = heads
        self._caches: dict[str, NDArray[np.float32]] = {}

    def run(self, ids: NDArray[np.int64], mask: NDArray[np.int64] | None = None, kept: int = 0) -> NDArray[np.float32]:
        if not self._caches:
            past = [name for name in self.inputs if name.startswith("past_key_values.")]
            heads = self._heads or SMALL.kv_heads
            self._caches = {name: np.zeros((len(ids), heads, 0, SMALL.head_size), np.float32) for name in past}
        before = next(iter(self._caches.values())).shape[2]
        if mask is None:
            mask = np.ones((len(ids), before + ids.shape[1]), np.int64)
        positions = np.broadcast_to(np.arange(before, before + ids.shape[1]), ids.shape)
        feed: dict[str, Any] = {"input_ids": ids, "attention_mask": mask, "position_ids": positions}
        if "num_logits_to_keep" in self.inputs:
            feed["num_logits_to_keep"] = np.array(kept)
        names = [value.name for value in self._session.get_outputs()]
        outputs = dict(zip(names, self._session.run(names, feed | self._caches), strict=True))
        self._caches = {name: outputs[name.replace("past_key_values", "present")] for name in self._caches}
        return outputs["logits"]


def _ids(start: int, stop: int) -> NDArray[np.int64]:
    return np.array([IDS[start:stop]])


@pytest.mark.parametrize("length", [1, BOUNDARY, BOUNDARY + 1, POSITIONS])
def test_every_row_of_a_prompt_has_edgephis_logits(folder: ExportedFolder, model: Model, length: int):
    got, expected = _Fed(folder.graph).run(_ids(0, length))[0], model.logits(IDS[:length], rows="all")
    np.testing.assert_allclose(got, expected, atol=1e-4 * expected.std())


@pytest.mark.parametrize("start", [3, BOUNDARY + 2])
def test_further_tokens_have_edgephis_logits(folder: ExportedFolder, model: Model, start: int):
    fed = _Fed(folder.graph)
    fed.run(_ids(0, start))
    for stop in (start + 1, start + 2, start + 6):  # a reply token by token, then the next turn
        got, expected = fed.run(_ids(start, stop))[0, -1], model.logits(IDS[:stop])
        np.testing.assert_allclose(got, expected, atol=1e-4 * expected.std())
        start = stop


def test_prompts_of_one_length_may_be_a_batch(folder: ExportedFolder, model: Model):
    prompts = (IDS[:5], IDS[7:12])
    for got, prompt in zip(_Fed(folder.graph).run(np.array(prompts)), prompts, strict=True):
        np.testing.assert_allclose(got[-1], model.logits(prompt), atol=1e-4)


@pytest.mark.parametrize("column", [0, 2, 4])
def test_padding_is_refused_wherever_it_stands(folder: ExportedFolder, column: int):
    """Both runtimes put it first, where attention does not expect it: the answer would be quietly wrong."""
    mask = np.ones((2, 5), np.int64)
    mask[1, column] = 0
    with pytest.raises(Exception, match="padding is not supported: give prompts one by one, or prompts of one length"):
        _Fed(folder.graph).run(np.array([IDS[:5], IDS[5:10]]), mask)


def test_keys_of_both_regimes_are_never_mixed(folder: ExportedFolder):
    fed = _Fed(folder.graph)
    fed.run(_ids(0, BOUNDARY))
    with pytest.raises(Exception, match=CROSSED):
        fed.run(_ids(BOUNDARY, BOUNDARY + 1))


def test_no_position_is_read_behind_the_tables(folder: ExportedFolder):
    with pytest.raises(Exception, match=f"longer than the {POSITIONS} tokens that this model takes"):
        _Fed(folder.graph).run(_ids(0, POSITIONS + 1))


def test_every_file_is_there_and_listed(folder: ExportedFolder):
    record = ExportRecord.load(folder.path)
    there = {file.relative_to(folder.path).as_posix() for file in folder.path.rglob("*") if file.is_file()}
    assert there == {info.path for info in record.files} | {RECORD_NAME, "README.md"}
    names = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json")
    assert there >= {GRAPHS[folder.layout], f"{GRAPHS[folder.layout]}_data", *names}
    for info in record.files:
        path = folder.path / info.path
        assert (info.bytes, info.sha256) == (path.stat().st_size, file_sha256(path))
    assert (record.layout, record.recipe.name, record.modalities) == (folder.layout, "fp32", ("text",))


def test_the_weights_lie_beside_the_graph_under_the_name_in_it(folder: ExportedFolder):
    """A browser and the hub's cache look for exactly this name in the graph's own folder."""
    graph = ir.load(folder.graph).graph
    stored = [value.const_value for value in graph.initializers.values()]
    assert {t.location for t in stored if isinstance(t, ir.ExternalTensor)} == {f"{folder.graph.name}_data"}


def test_the_config_says_what_the_graph_is(folder: ExportedFolder, model: Model):
    config = json.loads((folder.path / "config.json").read_text())
    sizes = ("num_attention_heads", "num_key_value_heads", "num_hidden_layers", "vocab_size", "hidden_size")
    assert tuple(config[name] for name in sizes) == (3, 1, 2, 400, 192)
    assert (config["model_type"], config["architectures"]) == ("phi3", ["Phi3ForCausalLM"])
    assert (config["original_max_position_embeddings"], config["max_position_embeddings"]) == (BOUNDARY, POSITIONS)
    assert config["rope_scaling"].keys() == {"type", "short_factor", "long_factor"}  # all that Phi3Config allows
    assert config["rope_scaling"]["long_factor"] == list(model.manifest.rope.long_factor)
    for name in ("config.json", "generation_config.json"):
        assert json.loads((folder.path / name).read_text())["eos_token_id"] == list(model.manifest.tokens.eos)


def test_no_code_of_the_checkpoint_is_asked_for(tmp_path: Path):
    """Its repository's own Python cannot be had offline."""
    source = small_checkpoint("phi3").path
    assert "auto_map" in (source / "config.json").read_text()
    out = export(source, tmp_path / "out", ExportOptions(recipe="fp32", layout="optimum"))
    assert not [path for path in out.glob("*config.json") if "auto_map" in path.read_text()]


def test_the_chat_template_is_where_both_libraries_look(folder: ExportedFolder, checkpoint: Path):
    settings = json.loads((folder.path / "tokenizer_config.json").read_text())
    assert settings["chat_template"] == (checkpoint / "chat_template.jinja").read_text()
    assert settings["model_input_names"] == ["input_ids", "attention_mask"]  # generate() refuses token types


def test_optimum_may_give_empty_caches_of_any_number_of_heads(folder: ExportedFolder, model: Model):
    """Of models of the type phi3 it asks for as many as there are of attention; transformers.js reads the graph."""
    fed = _Fed(folder.graph, heads=SMALL.heads)
    if folder.layout == "transformersjs":
        assert fed.inputs["past_key_values.1.value"] == ["batch_size", 1, "past_sequence_length", 64]
        return
    first = fed.run(_ids(0, 4))
    np.testing.assert_allclose(first[0, -1], model.logits(IDS[:4]), atol=1e-4)
    np.testing.assert_allclose(fed.run(_ids(4, 5))[0, -1], model.logits(IDS[:5]), atol=1e-4)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (ExportOptions(adapters="speech"), "is text only and has no adapters, so not --adapters speech"),
        (ExportOptions(modalities=("text", "vision")), "so not --modalities text,vision"),
        (ExportOptions(kv_cache="int8"), "--kv-cache int8 is for edgephi's own layout; leave out --layout"),
        (ExportOptions(prefill="int8"), "--prefill int8 is for edgephi's own layout; leave out --layout"),
        (ExportOptions(max_crops=4), "--max-crops 4 is for images, and --layout"),
        (ExportOptions(recipe="int4-gpu"), "computes with float16, for GPUs; --layout"),
    ],
    ids=["adapters", "modalities", "cache", "prefill", "crops", "recipe"],
)
@pytest.mark.parametrize("layout", sorted(GRAPHS))
def test_what_such_a_folder_cannot_have_is_refused(
    checkpoint: Path, tmp_path: Path, options: ExportOptions, match: str, layout: LayoutName
):
    with pytest.raises(ConfigError, match=match):
        export(checkpoint, tmp_path / "out", replace(options, layout=layout))
    assert list(tmp_path.iterdir()) == []


def test_edgephi_does_not_run_such_a_folder_and_says_which_it_is(folder: ExportedFolder):
    assert not (folder.path / MANIFEST_NAME).exists()
    with pytest.raises(ArtifactError, match=f"one for another runtime, made with `--layout {folder.layout}`"):
        Bundle(folder.path)


def test_every_layout_is_registered():
    assert set(LAYOUTS) == set(get_args(LayoutName))
