"""A folder for onnxruntime-genai: what the library will read, and a graph that answers as edgephi does.

The library itself is not needed here: the graph is run as it runs it. tests/genai runs the real one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from edgephi import Model
from edgephi.base.errors import ArtifactError, ConfigError
from edgephi.bundle.bundle import MANIFEST_NAME, Bundle, file_sha256
from edgephi.bundle.manifest import GenerationDefaults, RopeInfo
from edgephi.decoder.rope import RotaryTables
from edgephi_export import ExportOptions, export
from edgephi_export.checkpoint.checkpoint import Checkpoint, open_checkpoint
from edgephi_export.checkpoint.selection import choose
from edgephi_export.commands.export import export as export_command
from edgephi_export.graphs.rotary_positions import rotary_table
from edgephi_export.layouts.genai.config import genai_config
from edgephi_export.layouts.record import RECORD_NAME, ExportRecord
from support.bundles import small_checkpoint
from support.cases import words
from support.checkpoints import write_checkpoint
from support.shell import invoke
from support.sizes import SMALL

RECIPES = ("fp32", "int8", "int4", "int4-fast")
#: LongRoPE's boundary and the context, small enough to cross both in a test.
BOUNDARY, POSITIONS = 24, 64
PROMPT = words("genai", 40)
GENAI = ExportOptions(recipe="fp32", layout="genai", adapters="none")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sizes = replace(SMALL, original_positions=BOUNDARY, max_positions=POSITIONS)
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint") / "small", sizes=sizes).path


@dataclass(frozen=True, slots=True)
class Pair:
    """The same weights in both layouts."""

    genai: Path
    edgephi: Path
    model: Model


@pytest.fixture(scope="module", params=RECIPES)
def pair(request: pytest.FixtureRequest, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp(request.param)
    genai = export(checkpoint, folder / "genai", ExportOptions(recipe=request.param, layout="genai", adapters="none"))
    edgephi = export(checkpoint, folder / "edgephi", ExportOptions(recipe=request.param, adapters="none"))
    with Model.load(edgephi) as model:
        yield Pair(genai, edgephi, model)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the small multimodal checkpoint with its default options."""
    out = tmp_path_factory.mktemp("genai") / "out"
    return export(small_checkpoint("original").path, out, ExportOptions(layout="genai", adapters="none"))


class _FedGenerator:
    """Feeds a graph as onnxruntime-genai does."""

    def __init__(self, folder: Path) -> None:
        options = ort.SessionOptions()
        options.log_severity_level = 4
        self._session = ort.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])
        self._caches: dict[str, NDArray[np.float32]] = {}
        self._mask = np.zeros((0, 0), np.int64)

    def append(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        """Logits [B, 1, V] after some more tokens [B, S]."""
        if not self._caches:
            self._mask = np.zeros((len(ids), 0), np.int64)
            inputs = {value.name: value.shape for value in self._session.get_inputs()}
            for name, shape in inputs.items():
                if name.startswith("past_key_values."):
                    self._caches[name] = np.zeros((len(ids), shape[1], 0, shape[3]), np.float32)
        self._mask = np.concatenate([self._mask, mask], axis=1)
        positions = np.maximum(np.cumsum(self._mask, axis=1) - 1, 0)[:, -ids.shape[1] :]
        feed = {"input_ids": ids, "attention_mask": self._mask, "position_ids": positions, **self._caches}
        names = [value.name for value in self._session.get_outputs()]
        outputs = dict(zip(names, self._session.run(names, feed), strict=True))
        self._caches = {name: outputs[name.replace("past_key_values", "present")] for name in self._caches}
        return outputs["logits"]


def _logits(fed: _FedGenerator, ids: tuple[int, ...]) -> NDArray[np.float32]:
    logits = fed.append(np.array([ids]), np.ones((1, len(ids)), np.int64))
    assert logits.shape[:2] == (1, 1)
    return logits[0, 0]


def _open(folder: Path) -> Checkpoint:
    return open_checkpoint(folder, choose("none", ("text",), ("text", "vision", "speech")))


@pytest.mark.parametrize("length", [1, 2, BOUNDARY, BOUNDARY + 1, 40])
def test_a_prompt_gets_edgephis_logits(pair: Pair, length: int):
    """Embedding, positions, rotary tables of both regimes, the head's one row: a fault in any changes the answer."""
    got, expected = _logits(_FedGenerator(pair.genai), PROMPT[:length]), pair.model.logits(PROMPT[:length])
    np.testing.assert_allclose(got, expected, atol=1e-5)


@pytest.mark.parametrize("start", [3, BOUNDARY + 2])
def test_further_tokens_get_edgephis_logits(pair: Pair, start: int):
    fed = _FedGenerator(pair.genai)
    _logits(fed, PROMPT[:start])
    for added in (1, 1, 4):  # a reply token by token, then the next turn
        got, start = _logits(fed, PROMPT[start : start + added]), start + added
        expected = pair.model.logits(PROMPT[:start])
        # Several positions at once differ from one after the other in the last bits of float32 keys, and activations
        # rounded to 8 bits make more of that.
        np.testing.assert_allclose(got, expected, atol=5e-2)
        assert got.argmax() == expected.argmax()


def test_a_batch_of_unequal_prompts_gets_each_prompts_logits(pair: Pair):
    """The head reads one row per prompt; the last row of a shorter prompt is padding."""
    prompts, tokens = (PROMPT[:5], PROMPT[5:13]), PROMPT[20:22]
    ids, mask = np.zeros((2, 8), np.int64), np.zeros((2, 8), np.int64)
    for row, prompt in enumerate(prompts):
        ids[row, : len(prompt)], mask[row, : len(prompt)] = prompt, 1
    fed = _FedGenerator(pair.genai)
    first = fed.append(ids, mask)
    second = fed.append(np.array(tokens)[:, None], np.ones((2, 1), np.int64))
    assert first.shape[:2] == second.shape[:2] == (2, 1)
    for row, (prompt, token) in enumerate(zip(prompts, tokens, strict=True)):
        np.testing.assert_allclose(first[row, 0], pair.model.logits(prompt), atol=1e-4)
        np.testing.assert_allclose(second[row, 0], pair.model.logits((*prompt, token)), atol=5e-2)


@pytest.mark.parametrize("added", [1, 5])
def test_keys_of_both_regimes_are_never_mixed(pair: Pair, added: int):
    """The library does not notice when an appended text crosses the boundary; the answer would be quietly wrong."""
    fed = _FedGenerator(pair.genai)
    _logits(fed, PROMPT[:BOUNDARY])
    with pytest.raises(Exception, match=f"grew beyond {BOUNDARY} tokens: append all of it at once to a new generator"):
        _logits(fed, PROMPT[BOUNDARY : BOUNDARY + added])


def test_the_table_is_on_disk_once(pair: Pair):
    values = pair.model.manifest.decoder.embedding.values
    row_bytes = values.num_bytes // values.shape[0]
    row = Bundle(pair.edgephi).tensor(values)[7].tobytes()
    assert len(row) == row_bytes
    assert (pair.genai / "weights/decoder.bin").read_bytes().count(row) == 1


def test_embedding_and_head_read_the_same_bytes(pair: Pair):
    """A Reshape in between would be folded into a second copy in memory, 300 to 600 MB of the public model."""
    graph = ir.load(pair.genai / "model.onnx").graph
    embed = next(node for node in graph if "input_ids" in {value.name for value in node.inputs[1:2] if value})
    head = next(node for node in graph if "logits" in {value.name for value in node.outputs})
    assert embed.op_type == ("Gather" if head.op_type == "FusedMatMul" else "GatherBlockQuantized")
    assert _places(embed) == _places(head)


def _places(node: ir.Node) -> set[tuple[str, int, int]]:
    """Where the constants lie that a node reads."""
    tensors = [value.const_value for value in node.inputs if value is not None]
    return {(t.location, t.offset, t.length) for t in tensors if isinstance(t, ir.ExternalTensor)}


def test_only_the_last_row_goes_through_the_head(folder: Path):
    """The library reserves one row of logits when the graph says so; all rows of a long prompt would take gigabytes."""
    logits = next(value for value in ir.load(folder / "model.onnx").graph.outputs if value.name == "logits")
    assert [str(axis) for axis in logits.shape] == ["B", "1", "400"]


def test_every_file_is_there_and_listed(folder: Path):
    record = ExportRecord.load(folder)
    there = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    assert there == {info.path for info in record.files} | {RECORD_NAME, "README.md"}  # whose owner may change it
    assert there == {
        "genai_config.json", "model.onnx", "weights/decoder.bin", "tokenizer.json", "tokenizer_config.json",
        "chat_template.jinja", "inference_model.json", "README.md", RECORD_NAME,
    }  # fmt: skip
    for info in record.files:
        assert (info.bytes, info.sha256) == ((folder / info.path).stat().st_size, file_sha256(folder / info.path))
    assert (record.recipe.name, record.modalities, record.adapters.mode) == ("int4", ("text",), "none")
    assert record.source.model_type == "phi4mm"


def test_the_library_gets_the_sizes_of_the_graph(folder: Path):
    config = json.loads((folder / "genai_config.json").read_text())
    decoder, sizes = config["model"]["decoder"], small_checkpoint("original").sizes
    graph = ir.load(folder / decoder["filename"]).graph
    layers = range(decoder["num_hidden_layers"])
    named = {name % layer if "%d" in name else name for name in decoder["inputs"].values() for layer in layers}
    assert named == {value.name for value in graph.inputs}
    named = {name % layer if "%d" in name else name for name in decoder["outputs"].values() for layer in layers}
    assert named == {value.name for value in graph.outputs}
    assert (decoder["num_hidden_layers"], decoder["num_attention_heads"], decoder["num_key_value_heads"]) == (2, 3, 1)
    assert (decoder["head_size"], decoder["hidden_size"]) == (sizes.head_size, sizes.hidden)
    assert config["model"]["vocab_size"] == sizes.vocab
    assert config["model"]["type"] == "phi3"  # the one whose cache is read again beyond 4,096 positions
    assert tuple(config["model"]["eos_token_id"]) == _open(small_checkpoint("original").path).config.tokens.eos


def test_the_cache_is_not_allocated_for_the_whole_context(folder: Path):
    """32 GiB of the public model, at the first prompt, was a complaint of the library's users."""
    config = json.loads((folder / "genai_config.json").read_text())
    assert (config["model"]["context_length"], config["search"]["max_length"]) == (131072, 4096)
    assert config["search"]["past_present_share_buffer"] is True
    assert "chunk_size" not in config["search"]  # would mix keys of both regimes in a prompt beyond 4,096


def test_a_short_context_bounds_the_cache(checkpoint: Path):
    assert genai_config(_open(checkpoint).config, "model.onnx").search.max_length == POSITIONS


def test_every_core_is_used(folder: Path):
    """Without a value the library takes half of the cores."""
    session = json.loads((folder / "genai_config.json").read_text())["model"]["decoder"]["session_options"]
    assert session["intra_op_num_threads"] == 0
    assert session["provider_options"] == []


def test_sampling_follows_the_checkpoint(checkpoint: Path):
    config = _open(checkpoint).config
    greedy = json.loads(genai_config(config, "model.onnx").to_json())["search"]
    assert greedy["do_sample"] is False
    assert not {"temperature", "top_k", "top_p"} & set(greedy)  # a user who turns sampling on gets the library's own
    sampled = replace(config, generation=GenerationDefaults(temperature=0.7, top_k=40, top_p=0.9))
    search = json.loads(genai_config(sampled, "model.onnx").to_json())["search"]
    assert (search["do_sample"], search["temperature"], search["top_k"], search["top_p"]) == (True, 0.7, 40, 0.9)


def test_a_model_without_pad_and_bos_gets_a_whole_config(checkpoint: Path):
    config = _open(checkpoint).config
    tokens = replace(config.tokens, pad=None, bos=None)
    model = json.loads(genai_config(replace(config, tokens=tokens), "model.onnx").to_json())["model"]
    assert model["pad_token_id"] == tokens.eos[0]
    assert "bos_token_id" not in model


@pytest.mark.parametrize(("boundary", "positions"), [(24, 64), (64, 64), (2000, 3000)])
@pytest.mark.parametrize("kind", ["cos", "sin"])
def test_the_stored_tables_are_the_runtimes(checkpoint: Path, boundary: int, positions: int, kind: str):
    """Bit for bit, the last position included."""
    rope: RopeInfo = replace(_open(checkpoint).config.rope, original_max_positions=boundary, max_positions=positions)
    stored = rotary_table(rope, kind)
    table = stored.whole()
    assert table.shape == stored.shape == (boundary + (positions if positions > boundary else 0), rope.rotary_dim // 2)
    tables = RotaryTables(rope, "float32")
    for total in (1, boundary, boundary + 1, positions):
        if total <= positions:
            tables.prepare(total)
            start = boundary if total > boundary else 0
            np.testing.assert_array_equal(table[start : start + total], getattr(tables, kind)[:total])


def test_the_tokenizer_can_be_opened_whatever_the_checkpoint_brings(tmp_path: Path):
    """The library opens none without tokenizer_config.json and a class in it, and prefers a template in there."""
    source = write_checkpoint(tmp_path / "phi3", "phi3").path
    path = source / "tokenizer_config.json"
    out = export(source, tmp_path / "out", GENAI)
    settings = json.loads((out / "tokenizer_config.json").read_text())
    assert settings["tokenizer_class"] == "GPT2TokenizerFast"
    # One template counts, the one that edgephi would use.
    assert "chat_template" not in settings
    template = json.loads(path.read_text())["chat_template"]
    assert (out / "chat_template.jinja").read_text() == template

    path.unlink()
    (source / "chat_template.jinja").write_text(template)
    again = export(source, tmp_path / "again", GENAI)
    assert json.loads((again / "tokenizer_config.json").read_text())["tokenizer_class"] == "PreTrainedTokenizerFast"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"adapters": "none", "modalities": ("text", "speech")}, "--adapters none is text only"),
        ({"recipe": "int4-gpu"}, "recipe int4-gpu computes with float16, for GPUs; --layout genai is for the CPU"),
        ({"layout": "gguf"}, "unknown layout 'gguf'; known: edgephi, genai"),
        (
            {"overrides": ("speech.*=int4:32",), "adapters": "none"},
            r"pattern 'speech\.\*' matches no linear of this model",
        ),
    ],
)
def test_what_the_layout_cannot_hold_is_refused(tmp_path: Path, options: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        export(small_checkpoint().path, tmp_path / "out", ExportOptions(**({"layout": "genai"} | options)))
    assert not list(tmp_path.iterdir())


def test_a_damaged_tokenizer_config_is_seen_before_anything_is_written(tmp_path: Path):
    source = write_checkpoint(tmp_path / "phi3", "native").path
    (source / "tokenizer_config.json").write_text("{")
    with pytest.raises(ArtifactError, match=r"tokenizer_config\.json: not valid JSON"):
        export(source, tmp_path / "out", GENAI)
    assert [path.name for path in tmp_path.iterdir()] == ["phi3"]


def test_force_replaces_either_kind_of_folder_by_the_other(tmp_path: Path):
    out, source = tmp_path / "out", small_checkpoint("phi3").path
    export(source, out, GENAI)
    with pytest.raises(ConfigError, match="out: already exists"):
        export(source, out)
    export(source, out, ExportOptions(recipe="fp32", force=True))
    assert {MANIFEST_NAME, RECORD_NAME} & {path.name for path in out.iterdir()} == {MANIFEST_NAME}
    export(source, out, replace(GENAI, force=True))
    assert {MANIFEST_NAME, RECORD_NAME} & {path.name for path in out.iterdir()} == {RECORD_NAME}


def test_force_keeps_a_folder_that_another_tool_made(tmp_path: Path):
    """genai_config.json alone says nothing about who made it, nor how long that took."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "genai_config.json").write_text("{}")
    with pytest.raises(ConfigError, match="out: exists and is not an edgephi model folder"):
        export(small_checkpoint("phi3").path, out, replace(GENAI, force=True))
    assert [path.name for path in out.iterdir()] == ["genai_config.json"]


def test_the_command_line_says_what_it_made(tmp_path: Path):
    out = tmp_path / "out"
    arguments = [str(small_checkpoint().path), "-o", str(out), "--layout", "genai", "--adapters", "none", "--json"]
    result = CliRunner().invoke(export_command, arguments, catch_exceptions=False)
    report = json.loads(result.stdout)
    assert (report["modalities"], report["adapters"], report["recipe"]) == (["text"], "none", "int4")
    sizes = {file.name: file.stat().st_size for file in out.rglob("*") if file.is_file()}
    assert report["bytes"] == sum(sizes.values()) - sizes["README.md"]


@pytest.mark.parametrize("arguments", [["inspect"], ["run"]])
def test_edgephi_itself_refuses_to_run_such_a_folder(folder: Path, arguments: list[str]):
    result = invoke(*arguments, folder, *(["hello"] if arguments == ["run"] else []))
    assert result.exit_code == ArtifactError.exit_code
    assert f"not an edgephi model folder (no {MANIFEST_NAME})" in result.stderr
