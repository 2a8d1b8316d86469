"""`--prefill int8`: a second decoder graph over weights of its own, in the same folder."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from edgephi import ConfigError
from edgephi.bundle.bundle import Bundle
from edgephi.decoder.decoder import Decoder
from edgephi.decoder.embedding_table import EmbeddingTable
from edgephi.decoder.row_codes import quantize_rows
from edgephi.inspection.weights_summary import summarize_weights
from edgephi.model_options import ModelOptions
from edgephi.prompt.input_sequence import InputSequence
from edgephi_export import ExportOptions, export
from edgephi_export.fidelity.weights import compare_with_checkpoint
from edgephi_export.graphs.adapted_linears import PREFILL_FORM
from support.bundles import small_bundle, small_checkpoint
from support.sizes import SMALL
from support.weights import decoder_weights

GRAPHS = ("decoder.onnx", "decoder_text.onnx", "decoder_prefill.onnx")


def _bundle() -> Bundle:
    return Bundle(small_bundle(recipe="int4", prefill="int8"))


def test_the_folder_has_one_graph_more_and_is_otherwise_the_same():
    """A device that reads short prompts only must get what it had before."""
    bundle, plain = _bundle(), Bundle(small_bundle(recipe="int4"))
    assert bundle.manifest.decoder.graphs == GRAPHS
    assert plain.manifest.decoder.graphs == GRAPHS[:2]
    files = {file.path: file.sha256 for file in bundle.manifest.files}
    kept = {file.path: file.sha256 for file in plain.manifest.files if file.path.endswith((".bin", ".onnx"))}
    assert kept.items() <= files.items()


def test_its_matrices_are_a_byte_for_each_weight_and_nothing_else_is_stored_twice():
    bundle = _bundle()
    tensors = bundle.tensor_index().tensors
    own = [tensor for tensor in tensors if tensor.part.startswith("prefill")]
    assert {tensor.format for tensor in own} == {"int8:rows"}
    read = {constant.tensor.file for constant in bundle.tensor_index().constants_of("decoder_prefill.onnx")}
    assert read == {f"weights/{part}.bin" for part in ("decoder", "prefill", "prefill_vision", "prefill_speech")}
    shared = [
        c for c in bundle.tensor_index().constants_of("decoder_prefill.onnx") if c.tensor.file.endswith("/decoder.bin")
    ]
    assert all("norm" in constant.name for constant in shared)  # no head, no second table
    names = [
        part.name
        for part in summarize_weights(bundle.tensor_index(), bundle.manifest.decoder.embedding.values).components
    ]
    assert {"prefill decoder", "prefill vision", "prefill speech"} < set(names)


def test_gate_and_up_are_the_halves_of_the_checkpoints_matrix():
    bundle = _bundle()
    tensors = {tensor.name: tensor for tensor in bundle.tensor_index().tensors}
    source = decoder_weights(SMALL, 0)["model.layers.0.mlp.gate_up_proj.weight"]
    for half, name in zip(np.split(source, 2), ("gate", "up"), strict=True):
        stored = tensors[f"prefill.layers.0.mlp.gate_up_proj.{name}"]
        codes, scales = quantize_rows(np.ascontiguousarray(half, dtype=np.float32))
        np.testing.assert_array_equal(bundle.tensor(stored.values), codes.T)
        assert stored.scales is not None
        np.testing.assert_array_equal(bundle.tensor(stored.scales), scales)


def _logits(folder: Path) -> np.ndarray:
    bundle, ids = Bundle(folder), np.arange(40) * 7 % 300
    decoder = Decoder(bundle, ModelOptions(threads=1, prefill_threshold=1))
    return decoder.forward(
        InputSequence(EmbeddingTable(bundle, bundle.manifest.decoder.embedding), ids, {}), adapter="speech"
    )


def test_gate_and_up_in_narrow_matrices_give_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Those of the real model are wider than a tile, those of the models that are tested are not."""
    options = ExportOptions(recipe="int4", prefill="int8", adapters="routed")
    whole = export(small_checkpoint().path, tmp_path / "whole", options)
    monkeypatch.setattr("edgephi_export.graphs.decoder.PREFILL_FORM", dataclasses.replace(PREFILL_FORM, tile=100))
    tiled = export(small_checkpoint().path, tmp_path / "tiled", options)
    tensors = {tensor.name: tensor for tensor in Bundle(tiled).tensor_index().tensors}
    names = [f"prefill.layers.0.mlp.gate_up_proj.up.{index}" for index in range(-(-SMALL.intermediate // 100))]
    assert len(names) > 1
    assert sum(tensors[name].shape[0] for name in names) == SMALL.intermediate
    np.testing.assert_array_equal(_logits(tiled), _logits(whole))


@pytest.mark.parametrize(
    ("overrides", "formats"), [((), {"int8:rows"}), (("prefill.*.down_proj=int8:32",), {"int8:rows", "int8:32"})]
)
def test_only_rules_that_name_it_change_its_matrices(tmp_path: Path, overrides: tuple[str, ...], formats: set[str]):
    options = ExportOptions(recipe="int8", prefill="int8", adapters="speech", overrides=("*=int4:64", *overrides))
    bundle = Bundle(export(small_checkpoint().path, tmp_path / "m", options))
    assert {t.format for t in bundle.tensor_index().tensors if t.part == "prefill"} == formats
    assert [rule.format for rule in bundle.manifest.recipe.rules if rule.pattern == "prefill.*"] == ["int8:rows"]


def test_a_graph_whose_weights_are_derived_costs_its_own_bytes_alone():
    """The point of it: nothing more to store, to send and to update but the graph and its index."""
    plain, derived = Bundle(small_bundle(recipe="int4")), Bundle(small_bundle(recipe="int4", prefill="derived"))
    before, after = ({file.path: file.sha256 for file in bundle.manifest.files} for bundle in (plain, derived))
    assert after.keys() - before.keys() == {"decoder_prefill.onnx", "prefill.json"}
    assert {name for name in before if before[name] != after[name]} <= {"README.md"}
    report = compare_with_checkpoint(derived.path, str(small_checkpoint().path), lambda done, total: None)
    assert all(tensor.ok for tensor in report.tensors)


def test_it_is_compared_with_the_checkpoint():
    """Otherwise damage in a second of all weights would pass `verify`."""
    report = compare_with_checkpoint(_bundle().path, str(small_checkpoint().path), lambda done, total: None)
    own = [tensor for tensor in report.tensors if tensor.part == "prefill"]
    assert own
    assert all(tensor.ok and tensor.sqnr_db > 30 for tensor in own)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"layout": "genai"}, "leave out --layout genai or --prefill"),
        ({"recipe": "fp16"}, "recipe fp16 computes with float16, for GPUs; --prefill int8 is for the CPU"),
        ({"prefill": "int4"}, "prefill is 'int4'; use 'int8' or 'derived', or leave it out"),
        ({"prefill": "derived", "recipe": "int2-absorbed", "adapters": "speech"}, "no place for a correction"),
    ],
)
def test_what_it_is_not_for_is_refused(tmp_path: Path, options: dict[str, str], words: str):
    with pytest.raises(ConfigError, match=words):
        export(small_checkpoint().path, tmp_path / "m", ExportOptions(**{"prefill": "int8", **options}))  # type: ignore[arg-type]
    assert not (tmp_path / "m").exists()
