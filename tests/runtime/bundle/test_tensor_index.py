"""A wrong place of a weight must be refused by name before anything is mapped: it would be read as other numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import AttributeProto, GraphProto, TensorProto

from edgephi import ArtifactError, Model
from edgephi.bundle.bundle import MANIFEST_NAME, Bundle
from edgephi.bundle.folder_files import HeldFiles
from edgephi.bundle.manifest import CacheKind
from edgephi.bundle.tensor_index import TENSORS_NAME
from support.bundles import copy_bundle, described, put, small_bundle
from support.shell import invoke

Values = dict[str, Any]
Damage = Callable[[Values], object]
HEAD, NEXT = "lm_head.0.weight", "lm_head.100.weight"
NORM, OTHER_NORM = "layers.0.input_layernorm.weight", "layers.1.input_layernorm.weight"


def _places(graph: GraphProto) -> set[tuple[str, str, int, int, str, tuple[int, ...]]]:
    """Of all constants in files, as the `onnx` package reads them."""
    found = set()
    for tensor in graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL:
            place = {entry.key: entry.value for entry in tensor.external_data}
            dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).name
            numbers = int(place["offset"]), int(place["length"])
            found.add((tensor.name, place["location"], *numbers, dtype, tuple(tensor.dims)))
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                found |= _places(attribute.g)
    return found


def _listed(bundle: Bundle, graph: str) -> set[tuple[str, str, int, int, str, tuple[int, ...]]]:
    constants = bundle.tensor_index().constants_of(graph)
    return {(c.name, c.tensor.file, c.tensor.offset, c.length, c.tensor.dtype, c.tensor.shape) for c in constants}


@pytest.mark.parametrize(
    ("recipe", "kv_cache"),
    [("int4", "int8"), ("int4-fast", "float"), ("int8", "float"), ("fp32", "float"), ("fp16", "float")],
)
def test_the_index_lists_exactly_the_constants_of_every_graph(recipe: str, kv_cache: CacheKind):
    folder = small_bundle("native", None, None, recipe, kv_cache)
    bundle = Bundle(folder)
    assert len(bundle.manifest.graphs) == (4 if kv_cache == "float" else 6)
    for graph in bundle.manifest.graphs:
        assert _listed(bundle, graph) == _places(onnx.load(folder / graph, load_external_data=False).graph)


@pytest.mark.parametrize("kv_cache", ["float", "int8"])
def test_the_constants_of_a_folder_of_version_2_are_found_by_their_names(tmp_path: Path, kv_cache: CacheKind):
    folder = copy_bundle(small_bundle("native", None, None, "int4", kv_cache), tmp_path / "m")
    _change(folder, lambda raw: raw.pop("constants"))
    (folder / MANIFEST_NAME).write_text(json.dumps({**described(folder), "schema_version": 2}))
    bundle = Bundle(folder)
    for graph in bundle.manifest.graphs:
        assert _listed(bundle, graph) >= _places(onnx.load(folder / graph, load_external_data=False).graph)


def _change(folder: Path, damage: Damage) -> None:
    raw = json.loads((folder / TENSORS_NAME).read_text())
    damage(raw)
    put(folder, TENSORS_NAME, json.dumps(raw).encode())


def _constant(raw: Values, name: str) -> Values:
    found: Values = next(constant for constant in raw["constants"] if constant["name"] == name)
    return found


def _put(**change: object) -> Damage:
    """Change the place of the head's first piece."""
    return lambda raw: _constant(raw, HEAD)["tensor"].update(change)


def _swap(one: str, other: str) -> Damage:
    def swap(raw: Values) -> None:
        a, b = _constant(raw, one), _constant(raw, other)
        a["tensor"], b["tensor"] = b["tensor"], a["tensor"]

    return swap


def _move_tensor(name: str, by: int) -> Damage:
    def move(raw: Values) -> None:
        tensor = next(tensor for tensor in raw["tensors"] if tensor["name"] == name)
        tensor["values"]["offset"] += by

    return move


def _move_constant(name: str, by: int) -> Damage:
    def move(raw: Values) -> None:
        _constant(raw, name)["tensor"]["offset"] += by

    return move


DAMAGES: list[tuple[Damage, str]] = [
    (_put(offset=-4), r"constants\[\d+\]\.tensor: a tensor at -4"),
    (_put(offset=1 << 40), r"constant lm_head\.0\.weight is at 1,099,511,627,776 of weights/decoder\.bin, where no"),
    (_put(offset=0), r"constant lm_head\.0\.weight is at 0 of weights/decoder\.bin, where no tensor has its name"),
    (_put(dtype="int8"), "where no tensor has its name and type"),
    (_put(shape=[1]), r"lm_head\.0\.weight has [\d,]+ bytes; uint8 of shape \[1\] takes 1"),
    (_put(shape=[1 << 40, 1 << 40]), "takes 1,208,925,819,614,629,174,706,176"),
    (_put(file="weights/other.bin"), r"is at \d[\d,]* of weights/other\.bin, where no"),
    (_put(file="../secret"), r"is at \d[\d,]* of \.\./secret, where no"),
    (lambda raw: _constant(raw, HEAD).update(length=1), "has 1 bytes; uint8 of shape"),
    (lambda raw: _constant(raw, HEAD).update(length=-1), "has -1 bytes; uint8 of shape"),
    (lambda raw: _constant(raw, HEAD).update(graphs=["tensors.json"]), r"is of tensors\.json, which is no graph"),
    (lambda raw: raw["constants"].append(_constant(raw, HEAD)), r"constant lm_head\.0\.weight is listed twice"),
    (_move_constant(NEXT, -1), r"lm_head\.0\.weight and lm_head\.100\.weight overlap in weights/decoder\.bin"),
    (_move_constant("lm_head.300.weight", 1), "where no tensor has its name and type"),
    (_swap(NORM, OTHER_NORM), rf"constant {NORM} is at"),
    (_move_tensor(NORM, 4), "where no tensor has its name and type"),
    (_move_tensor(OTHER_NORM, -4096), "overlap in weights/decoder.bin"),
    (_move_tensor("lm_head", 1), r"no tensor is at [\d,]+ of weights/decoder\.bin, the manifest says one is"),
    (lambda raw: raw.pop("constants"), "key 'constants' is missing"),
    (lambda raw: raw["constants"][0].pop("length"), r"constants\[0\]: key 'length' is missing"),
]  # fmt: skip


@pytest.mark.parametrize(("damage", "message"), DAMAGES, ids=[message[:40] for _, message in DAMAGES])
def test_a_wrong_place_is_refused_before_anything_is_mapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Damage, message: str
):
    def mapped(*_: object) -> None:
        raise AssertionError("a file was mapped")

    folder = copy_bundle(small_bundle(recipe="int4"), tmp_path / "m")
    _change(folder, damage)
    monkeypatch.setattr(HeldFiles, "map", mapped)
    monkeypatch.setattr(HeldFiles, "map_part", mapped)
    with pytest.raises(ArtifactError, match=rf"^{folder / TENSORS_NAME}.*{message}"):
        Model.load(folder)


def test_a_wrong_place_is_one_line_and_exit_code_3(tmp_path: Path):
    folder = copy_bundle(small_bundle(recipe="int4"), tmp_path / "m")
    _change(folder, _put(offset=0))
    for command in (["run", folder, "hello"], ["verify", folder], ["inspect", folder]):
        done = invoke(*command)
        assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (3, "", 1)
        assert "tensors.json: constant lm_head.0.weight is at 0" in done.stderr


def test_scales_of_an_int8_cache_must_be_where_the_manifest_has_them(tmp_path: Path):
    folder = copy_bundle(small_bundle("native", None, None, "int4", "int8"), tmp_path / "m")
    _change(folder, _move_constant("layers.0.key_scale", 4096))
    with pytest.raises(ArtifactError, match=r"layers\.0\.key_scale and layers\.0\.value_scale overlap"):
        Model.load(folder)
