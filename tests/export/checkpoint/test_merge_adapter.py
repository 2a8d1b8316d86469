"""A fine-tune kept as a PEFT adapter must be in the exported model to the digit, or be refused: never left out."""

from __future__ import annotations

import json
import shutil
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import save_file

from edgephi import Model
from edgephi.base.errors import ArtifactError
from edgephi.bundle.bundle import Bundle
from edgephi.cli.inspect import inspect
from edgephi.cli.verify import verify
from edgephi_export import ExportOptions, export
from edgephi_export.checkpoint.checkpoint import available_modalities, open_checkpoint, read_layout
from edgephi_export.checkpoint.lora_merge import LoraBlock
from edgephi_export.checkpoint.peft_adapter import Adapter
from edgephi_export.checkpoint.safetensors_file import read_header
from edgephi_export.checkpoint.selection import choose
from edgephi_export.checkpoint.tensors import WeightSource
from edgephi_export.commands import export as cli
from edgephi_export.layouts.record import ExportRecord
from support.adapters import AdapterSpec, decoder_shapes, write_adapter
from support.bundles import small_bundle, small_checkpoint
from support.checkpoints import Layout
from support.sizes import SMALL
from support.tensor_files import change_json, change_tensors

SIZES = SMALL
ALL = decoder_shapes(SIZES)
DOWN, UP = "model.layers.1.mlp.down_proj", "model.layers.0.mlp.gate_up_proj"
TABLE = "model.embed_tokens.weight"
QUERY_ROWS, KEY_ROWS = SIZES.heads * SIZES.head_size, SIZES.kv_heads * SIZES.head_size


def _weights(folder: Path, adapter: Path | None = None, **chosen: Any) -> WeightSource:
    selection = choose(chosen.get("adapters"), None, available_modalities(read_layout(folder)))
    return open_checkpoint(folder, selection, Adapter.load(adapter, "a") if adapter else None).weights


def _copy(layout: Layout, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_checkpoint(layout).path, tmp_path / "checkpoint"))


def _stored(module: str, spec_rank: int = 4) -> AdapterSpec:
    return AdapterSpec(shapes={module: ALL[module]}, rank=spec_rank)


SPECS = {
    "lora": AdapterSpec(shapes=ALL),
    "one matrix, odd rank": AdapterSpec(shapes={DOWN: ALL[DOWN]}, rank=7, alpha=3.5),
    "rslora": AdapterSpec(shapes=ALL, rank=5, settings={"use_rslora": True}),
    "dora": AdapterSpec(shapes=ALL, settings={"use_dora": True}),
    "patterns": AdapterSpec(shapes=ALL, ranks={DOWN: 2, UP: 9}, alphas={UP: 1.5}),
    "patterns and rslora": AdapterSpec(shapes=ALL, ranks={UP: 6}, alphas={DOWN: 32}, settings={"use_rslora": True}),
    "negative alpha": AdapterSpec(shapes=ALL, alpha=-2),
    "fan_in_fan_out, which PEFT drops for linears": AdapterSpec(shapes=ALL, settings={"fan_in_fan_out": True}),
}


@pytest.mark.parametrize("layout", ["phi3", "native", "original"])
@pytest.mark.parametrize("name", SPECS)
def test_the_merged_matrices_are_those_of_the_long_way(tmp_path: Path, layout: Layout, name: str):
    spec, folder = SPECS[name], small_checkpoint(layout).path
    base = _weights(folder, adapters="none")
    found = _weights(folder, write_adapter(tmp_path / "adapter", spec), adapters="none")
    for tensor in base.shapes:
        wanted = base.read(tensor).astype(np.float64)
        module = f"model.{tensor.removesuffix('.weight')}"
        if module in spec.shapes:
            wanted = spec.merged(module, wanted)
        np.testing.assert_allclose(found.read(tensor), wanted, atol=2e-6, err_msg=tensor)


def test_the_exported_model_is_the_one_with_merged_weights(tmp_path: Path):
    spec = SPECS["patterns and rslora"]
    folder, adapter = _copy("phi3", tmp_path), write_adapter(tmp_path / "adapter", spec)

    def merge(tensors: dict[str, Any]) -> None:
        for module in spec.shapes:
            tensors[f"{module}.weight"] = spec.merged(module, tensors[f"{module}.weight"]).astype(np.float32)

    out = export(folder, tmp_path / "out", ExportOptions(recipe="fp32", merge_adapter=adapter))
    change_tensors(folder / "model.safetensors", merge)
    wanted = export(folder, tmp_path / "wanted", ExportOptions(recipe="fp32"))
    ids = [3, 200, 17, 5, 90]
    with Model.load(out) as found, Model.load(wanted) as merged, Model.load(small_bundle("phi3")) as base:
        expected = merged.logits(ids, rows="all")
        np.testing.assert_allclose(found.logits(ids, rows="all"), expected, atol=1e-4)
        assert np.abs(base.logits(ids, rows="all") - expected).max() > 0.05


def test_both_own_adapters_stay_on_top_of_the_merged_base(tmp_path: Path):
    """A fine-tuned base that still takes audio: the model's own speech adapter is merged over it."""
    spec = SPECS["lora"]
    adapter = write_adapter(tmp_path / "adapter", spec)
    options = ExportOptions(recipe="fp32", merge_adapter=adapter)
    out = export(small_checkpoint("native").path, tmp_path / "out", options)
    ids = [3, 200, 17]
    with Model.load(out) as found, Model.load(small_bundle("native")) as plain:
        for name in ("none", "speech", "vision"):
            assert np.abs(found.logits(ids, adapter=name) - plain.logits(ids, adapter=name)).max() > 0.05


@pytest.mark.parametrize(
    ("part", "first", "rows", "packed"),
    [
        ("self_attn.q_proj", 0, QUERY_ROWS, "self_attn.qkv_proj"),
        ("self_attn.k_proj", QUERY_ROWS, KEY_ROWS, "self_attn.qkv_proj"),
        ("self_attn.v_proj", QUERY_ROWS + KEY_ROWS, KEY_ROWS, "self_attn.qkv_proj"),
        ("mlp.gate_proj", 0, SIZES.intermediate, "mlp.gate_up_proj"),
        ("mlp.up_proj", SIZES.intermediate, SIZES.intermediate, "mlp.gate_up_proj"),
    ],
)
@pytest.mark.parametrize("dora", [False, True])
def test_an_adapter_of_unpacked_matrices_changes_its_rows_only(
    tmp_path: Path, part: str, first: int, rows: int, packed: str, dora: bool
):
    """Trained on a copy whose q, k, v and gate, up are matrices of their own, as some trainers make it."""
    module = f"model.layers.1.{part}"
    spec = AdapterSpec(shapes={module: (rows, SIZES.hidden)}, settings={"use_dora": dora})
    folder, name = small_checkpoint("phi3").path, f"layers.1.{packed}.weight"
    wanted = _weights(folder).read(name).astype(np.float64)
    wanted[first : first + rows] = spec.merged(module, wanted[first : first + rows])
    found = _weights(folder, write_adapter(tmp_path / "adapter", spec)).read(name)
    np.testing.assert_allclose(found, wanted, atol=2e-6)


def test_a_matrix_read_in_pieces_is_the_same(tmp_path: Path):
    """What bounds the memory: no piece depends on how the rows are cut."""
    adapter = write_adapter(tmp_path / "adapter", SPECS["dora"])
    lazy = _weights(small_checkpoint("phi3").path, adapter).lazy("layers.0.mlp.gate_up_proj.weight")
    pieces = [lazy.read_rows(start, min(start + 37, lazy.shape[0])) for start in range(0, lazy.shape[0], 37)]
    np.testing.assert_allclose(np.concatenate(pieces), lazy.whole(), atol=1e-6)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (".weight", ".default.weight"),
        (".weight", ""),
        (".lora_", ".base_layer.lora_"),
        ("base_model.model.", ""),
        ("base_model.model.", "base_model.model.base_model.model."),
    ],
)
@pytest.mark.parametrize("layout", ["phi3", "original"])
def test_keys_as_trainers_spell_them(tmp_path: Path, layout: Layout, old: str, new: str):
    """With the adapter's name, behind another adapter's wrapper, or without PEFT's own prefix."""
    folder, adapter = small_checkpoint(layout).path, write_adapter(tmp_path / "adapter", SPECS["lora"])
    wanted = _weights(folder, adapter, adapters="none").read("layers.1.mlp.down_proj.weight")
    _rename(old, new)(adapter)
    found = _weights(folder, adapter, adapters="none").read("layers.1.mlp.down_proj.weight")
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("dora", [False, True])
def test_merging_holds_no_matrix_whole(tmp_path: Path, dora: bool):
    """64 MB of weights, read as an export reads them, within a quarter of that."""
    spec = AdapterSpec(shapes={"x": (8192, 2048)}, rank=16, settings={"use_dora": dora})
    base = {"x": np.ones((8192, 2048), np.float32)}
    save_file(base | {"a": spec.matrices("x")[0], "b": spec.matrices("x")[1], "m": spec.magnitude("x")}, tmp_path / "f")
    stored = read_header(tmp_path / "f")
    block = LoraBlock(first_row=0, a=stored["a"], b=stored["b"], scale=2.0, magnitude=stored["m"] if dora else None)
    lazy = WeightSource(stored, {"x": (block,)}).lazy("x")
    tracemalloc.start()
    try:
        total = sum(float(lazy.read_rows(start, stop).sum()) for start, stop in lazy.spans())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert total == pytest.approx(float(spec.merged("x", base["x"]).sum()), rel=1e-3)
    assert peak < 16e6


def test_an_adapter_that_was_written_anew_is_read_anew(tmp_path: Path):
    """In one process, as in a notebook that trains and exports in turns."""
    folder, name = small_checkpoint("phi3").path, "layers.1.mlp.down_proj.weight"
    adapter = write_adapter(tmp_path / "adapter", SPECS["lora"])
    first = _weights(folder, adapter).read(name)
    change_tensors(adapter / "adapter_model.safetensors", lambda t: [value.__imul__(-1) for value in t.values()])
    np.testing.assert_array_equal(_weights(folder, adapter).read(name), first)  # -A and -B: the same product
    change_tensors(
        adapter / "adapter_model.safetensors", lambda t: t[f"base_model.model.{DOWN}.lora_A.weight"].__imul__(0)
    )
    np.testing.assert_array_equal(_weights(folder, adapter).read(name), _weights(folder).read(name))


def test_the_layout_of_onnxruntime_genai_gets_the_merged_weights(tmp_path: Path):
    folder, adapter = small_checkpoint("phi3").path, write_adapter(tmp_path / "adapter", SPECS["lora"])
    plain = export(folder, tmp_path / "plain", ExportOptions(layout="genai", recipe="fp32"))
    merged = export(folder, tmp_path / "merged", ExportOptions(layout="genai", recipe="fp32", merge_adapter=adapter))
    found, base = ((place / "weights/decoder.bin").read_bytes() for place in (merged, plain))
    matrix = _weights(folder, adapter).read("layers.1.mlp.down_proj.weight").tobytes()
    assert matrix in found
    assert matrix not in base
    assert ExportRecord.load(merged).source.merged_adapter is not None


def test_an_adapter_of_the_image_tower_is_merged_there(tmp_path: Path):
    name = "model.embed_tokens_extend.image_embed.img_projection_up"
    spec = AdapterSpec(shapes={name: (SIZES.hidden, SIZES.image_hidden)})
    folder, adapter = small_checkpoint("native").path, write_adapter(tmp_path / "adapter", spec)
    base = _weights(folder).read("vision.projector.up.weight").astype(np.float64)
    found = _weights(folder, adapter).read("vision.projector.up.weight")
    np.testing.assert_allclose(found, spec.merged(name, base), atol=2e-6)
    assert "vision.projector.up.weight" not in _weights(folder, adapter, adapters="none").shapes


def test_the_option_without_a_folder_merges_the_adapter_beside_the_base(tmp_path: Path):
    folder = write_adapter(_copy("phi3", tmp_path), SPECS["lora"])
    done = CliRunner().invoke(
        cli.export, [str(folder), "-o", str(tmp_path / "out"), "--recipe", "fp32", "--json", "--merge-adapter"]
    )
    assert done.exit_code == 0, done.output
    merged = Bundle(tmp_path / "out").manifest.source.merged_adapter
    assert merged is not None
    assert merged.id == "checkpoint"
    found, wanted = (
        tmp_path / "out",
        export(folder, tmp_path / "b", ExportOptions(recipe="fp32", merge_adapter=folder)),
    )
    assert Bundle(found).manifest.files == Bundle(wanted).manifest.files


def test_a_merged_adapter_is_named_by_inspect_and_needed_by_verify(tmp_path: Path):
    folder = write_adapter(_copy("phi3", tmp_path), SPECS["lora"])
    out = export(folder, tmp_path / "out", ExportOptions(merge_adapter="beside"))
    assert "with the adapter checkpoint merged" in CliRunner().invoke(inspect, [str(out)]).output
    assert CliRunner().invoke(verify, [str(out), "--reference", str(folder)]).exit_code == 0
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (folder / name).rename(tmp_path / name)
    with pytest.raises(ArtifactError, match=r"has the adapter checkpoint merged; put its adapter_config\.json and"):
        CliRunner().invoke(verify, [str(out), "--reference", str(folder)], catch_exceptions=False)


def _setting(**values: Any) -> Any:
    return lambda folder: change_json(folder / "adapter_config.json", lambda config: config.update(values))


def _tensors(change: Any) -> Any:
    return lambda folder: change_tensors(folder / "adapter_model.safetensors", change)


def _rename(old: str, new: str) -> Any:
    return _tensors(lambda t: [t.update({name.replace(old, new): t.pop(name)}) for name in list(t)])


REFUSED = {
    "another kind": (_setting(peft_type="LOHA"), r"peft_type is 'LOHA'; only 'LORA' is supported; merge it with PEFT"),
    "biases": (_setting(bias="all"), r"bias is 'all'; only 'none' is supported; merge it with PEFT's merge_and_unload"),
    "whole modules": (_setting(modules_to_save=["lm_head"]), r"modules_to_save is set, which is not supported; merge"),
    "trained rows": (_setting(trainable_token_indices=[1]), r"trainable_token_indices is set"),
    "a bias of B": (_setting(lora_bias=True), r"lora_bias is set"),
    "copied layers": (_setting(layer_replication=[[0, 1]]), r"layer_replication is set"),
    "what is not known yet": (_setting(use_tomorrow={"x": 1}), r"use_tomorrow is set"),
    "a base that PiSSA changed": (_setting(init_lora_weights="pissa_niter_4"), r"'pissa_niter_4', which may have"),
    "another rank": (_setting(r=8), r"lora_A\.weight has shape \[4, \d+\]; adapter_config\.json gives it rank 8"),
    "a broken pattern": (_setting(rank_pattern={"(": 4}), r"'\(' is no regular expression"),
    "no alpha": (_setting(lora_alpha="much"), r"lora_alpha is 'much'; expected float"),
    "lost half": (_tensors(lambda t: t.pop(f"base_model.model.{DOWN}.lora_B.weight")), r"down_proj: lora_B is missing"),
    "lost lengths": (_setting(use_dora=True), r"lora_magnitude_vector is missing"),
    "nothing": (_tensors(lambda t: t.clear()), r"holds no tensors"),
    "an embedding": (_rename("lora_A.weight", "lora_embedding_A"), r"lora_embedding_A is no part of a LoRA of a"),
    "the head": (_rename("model.layers.0.mlp.down_proj", "lm_head"), r"changes lm_head, which is no linear layer of"),
    "another model": (_rename("layers.0", "layers.7"), r"layers\.7\.\S+ is no matrix of this model; the"),
    "no numbers": (_tensors(lambda t: t[f"base_model.model.{DOWN}.lora_A.weight"].fill(np.nan)), r"NaN or infinity"),
    "a cut file": (lambda f: (f / "adapter_model.safetensors").write_bytes(b"12"), r"model\.safetensors: trunc"),
    "no weights": (lambda f: (f / "adapter_model.safetensors").unlink(), r"adapter_model\.safetensors: missing"),
    "pickled": (lambda f: (f / "adapter_model.safetensors").rename(f / "adapter_model.bin"), r"_model\.bin: a pick"),
    "no adapter": (lambda f: (f / "adapter_config.json").unlink(), r"adapter: no adapter_config\.json, so there is no"),
    "another template": (lambda f: (f / "chat_template.jinja").write_text("{{ messages }}"), r"its chat template is"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_an_adapter_that_cannot_be_merged_is_refused_in_one_line(tmp_path: Path, name: str):
    change, message = REFUSED[name]
    adapter = write_adapter(tmp_path / "adapter", SPECS["lora"])
    change(adapter)
    with pytest.raises(ArtifactError, match=message) as caught:
        export(small_checkpoint("phi3").path, tmp_path / "out", ExportOptions(recipe="fp32", merge_adapter=adapter))
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter"]


def test_no_adapter_there(tmp_path: Path):
    with pytest.raises(ArtifactError, match="no such adapter; give a folder that PEFT wrote or a Hugging Face id"):
        export(small_checkpoint("phi3").path, tmp_path / "out", ExportOptions(merge_adapter=tmp_path / "nowhere"))


@pytest.mark.parametrize("layout", ["phi3", "native", "original"])
@pytest.mark.parametrize("place", [".", "my-lora", "checkpoint-500", "lora/final", "out/run 1/checkpoint-3/best"])
def test_an_adapter_in_the_bases_folder_is_never_left_out_silently(tmp_path: Path, layout: Layout, place: str):
    folder = _copy(layout, tmp_path)
    write_adapter(folder / place, SPECS["lora"])
    with pytest.raises(ArtifactError, match=r"not merged; merge it with --merge-adapter"):
        export(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("place", ["my-lora", "a/vision-lora"])
def test_weights_of_an_adapter_count_without_its_config(tmp_path: Path, place: str):
    folder = _copy("native", tmp_path)
    (write_adapter(folder / place, SPECS["lora"]) / "adapter_config.json").unlink()
    (folder / "loop").symlink_to(folder)
    with pytest.raises(ArtifactError, match=f"{place}: a PEFT adapter inside the base model's folder"):
        export(folder, tmp_path / "out")


def test_an_adapter_beside_the_base_is_not_dropped_for_another_one(tmp_path: Path):
    folder, other = write_adapter(_copy("phi3", tmp_path), SPECS["lora"]), write_adapter(tmp_path / "b", SPECS["dora"])
    with pytest.raises(ArtifactError, match=r"adapter_config\.json: a PEFT adapter beside the base model, not merged"):
        export(folder, tmp_path / "out", ExportOptions(merge_adapter=other))
    write_adapter(folder / "first", SPECS["lora"])
    (folder / "adapter_config.json").unlink()
    (folder / "adapter_model.safetensors").unlink()
    write_adapter(folder / "second", SPECS["rslora"])
    assert export(folder, tmp_path / "out", ExportOptions(merge_adapter=folder / "second")).is_dir()


def test_an_adapter_alone_says_how_it_is_merged(tmp_path: Path):
    adapter = write_adapter(tmp_path / "adapter", SPECS["lora"])
    with pytest.raises(
        ArtifactError,
        match=r"an adapter \(LORA\) without its base model; merge it: edgephi export microsoft/Phi-4-mini-instruct "
        r"--merge-adapter .*adapter -o DIR",
    ):
        export(adapter, tmp_path / "out")


def test_a_random_adapter_of_random_modules_is_merged_like_the_long_way(tmp_path: Path):
    """Modules, ranks, alphas, rslora and DoRA at random; the seed is fixed."""
    random = np.random.default_rng(11)
    folder = small_checkpoint("phi3").path
    base = _weights(folder)
    for case in range(12):
        modules = [str(name) for name in random.permutation(list(ALL))[: random.integers(1, len(ALL) + 1)]]
        spec = AdapterSpec(
            shapes={name: ALL[name] for name in modules},
            rank=int(random.integers(1, 20)),
            alpha=float(random.uniform(0.5, 40)),
            ranks={name: int(random.integers(1, 9)) for name in modules if random.random() < 0.3},
            alphas={name: float(random.uniform(0.5, 9)) for name in modules if random.random() < 0.3},
            settings={"use_rslora": bool(random.integers(2)), "use_dora": bool(random.integers(2))},
        )
        found = _weights(folder, write_adapter(tmp_path / str(case), spec))
        for module in modules:
            name = f"{module.removeprefix('model.')}.weight"
            wanted = spec.merged(module, base.read(name).astype(np.float64))
            np.testing.assert_allclose(found.read(name), wanted, atol=1e-5, err_msg=json.dumps([case, module]))
