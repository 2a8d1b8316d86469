"""Bits by measurement: a budget is kept, what was measured is what the folder loses, and nothing is measured twice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgephi import ArtifactError, ConfigError, Model
from edgephi.bundle.bundle import Bundle
from edgephi_export import ExportOptions, export
from edgephi_export.calibration.examples import read_examples
from edgephi_export.calibration.sequences import SequenceBuilder
from edgephi_export.fidelity.divergence import divergence
from edgephi_export.fidelity.subject import folder_facts
from edgephi_export.options import Budget
from edgephi_export.sensitivity.measuring import SensitivityRun
from edgephi_quantize.recipe import make_recipe
from support.bundles import small_bundle, small_checkpoint
from support.examples import write_examples

FLOATS = ("vision.*=float32", "speech.*=float32", "*.lora_?.*=float32")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Examples, and an export under a budget of 5 bits a weight beside them."""
    made = tmp_path_factory.mktemp("budget")
    write_examples(made / "examples", "text", "speech", "vision")
    _export(made / "m", made, budget=Budget(bits=5))
    return made


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The same with encoders in floats and adapters as they are: what is measured is the group's error alone."""
    made = tmp_path_factory.mktemp("exact")
    write_examples(made / "examples", "text", "speech", "vision")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("edgephi_export.solving.make_recipe", lambda *_, **__: make_recipe("fp32"))
        _export(made / "m", made, budget=Budget(bits=5), absorb=False)
        yield made


def _export(out: Path, folder: Path, **options: Any) -> Path:
    layout = options.pop("layout", "native")
    chosen = {"overrides": FLOATS, "calibration": (folder / "examples",), "threads": 1, "force": True, **options}
    return export(small_checkpoint(layout).path, out, ExportOptions(**chosen))


def _weights(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "weights").iterdir()}


def _bits(folder: Path) -> float:
    """Mean bits a weight of the matrices and the head, as a step reads them: 8 bytes a block besides its codes."""
    bytes_, weights = 0.0, 0
    for info in Bundle(folder).tensor_index().tensors:
        if info.part == "decoder" and info.format.startswith("int") and ".lora_" not in info.name:
            bytes_ += info.values.num_bytes + 8 * np.prod(info.scales.shape if info.scales else (0,))
            weights += int(np.prod(info.shape))
    return 8 * bytes_ / weights


def test_the_bits_are_kept_and_used(folder: Path):
    assert 4.4 < _bits(folder / "m") <= 5
    recipe = json.loads((folder / "m.recipe.json").read_text(encoding="utf-8"))
    assert recipe["name"] == Bundle(folder / "m").manifest.recipe.name == "mixed-5bits"
    assert recipe["method"] == "gptq"  # there are examples


def test_the_saved_recipe_gives_the_same_folder(folder: Path, tmp_path: Path):
    again = _export(tmp_path / "again", folder, recipe=str(folder / "m.recipe.json"), overrides=())
    assert _weights(again) == _weights(folder / "m")
    assert not (tmp_path / "again.recipe.json").exists()


def test_a_second_budget_measures_nothing_and_bytes_of_a_step_are_kept(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("edgephi_export.budget.decoder_sequences", None)
    full = folder_facts(folder / "m", "float").steps[0].bytes
    most = int(full * 0.9)
    kept = _export(tmp_path / "n", folder, budget=Budget(step_bytes=most), sensitivity=folder / "m.sensitivity.json")
    assert 0.8 * most < folder_facts(kept, "float").steps[0].bytes <= most


def test_a_killed_measurement_goes_on_with_the_next_group(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    measure, seen = SensitivityRun.measure, list[str]()

    def stopping(run: SensitivityRun, groups: Any) -> Any:
        for number, found in enumerate(measure(run, groups)):
            if not seen and number == 4:
                seen.extend(group.name for group in groups[:4])
                raise KeyboardInterrupt
            assert found.name not in seen
            yield found

    monkeypatch.setattr(SensitivityRun, "measure", stopping)
    with pytest.raises(KeyboardInterrupt):
        _export(tmp_path / "m", folder, budget=Budget(bits=5))
    assert not (tmp_path / "m").exists()
    _export(tmp_path / "m", folder, budget=Budget(bits=5))
    names = [one["name"] for one in json.loads((tmp_path / "m.sensitivity.json").read_text())["groups"]]
    assert names[:4] == seen
    assert len(names) == len(set(names)) == 9
    assert _weights(tmp_path / "m") == _weights(folder / "m")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m", "m.recipe.json", "m.sensitivity.json"]


@pytest.mark.parametrize("group", ["layers.0.self_attn.qkv_proj", "lm_head"])
def test_what_was_measured_is_what_a_folder_loses_on_the_device(exact: Path, tmp_path: Path, group: str):
    """With this group alone in codes, everything else in floats, through ONNX Runtime."""
    record = json.loads((exact / "m.sensitivity.json").read_text(encoding="utf-8"))
    formats = next(one for one in record["groups"] if one["name"] == group)["formats"]
    kl = next(one for one in formats if one["format"] == "int4:64")["kl"]
    alone = _export(tmp_path / "alone", exact, absorb=False, overrides=("*=float32", f"{group}=int4:64"))
    assert dict(zip(record["modes"], kl, strict=True)) == pytest.approx(_kl(alone, exact / "examples"), rel=1e-3)


def _kl(model_folder: Path, examples: Path) -> dict[str, float]:
    """Mean KL of answers to the float folder, by the adapter that serves them."""
    found: dict[str, list[float]] = {}
    builder = SequenceBuilder(model_folder)
    exact = Model.load(small_bundle("native"), with_adapters=True)
    with exact, Model.load(model_folder, with_adapters=True) as model:
        for example in read_examples(examples):
            ids = builder.answer_ids(example.answer or "")
            wanted, got = (builder.forced(one, example, ids).logits(one) for one in (exact, model))
            adapter = "none" if example.mode == "text" else example.mode
            found.setdefault(adapter, []).extend(divergence(wanted, got, ids).kl)
    return {mode: float(np.mean(values)) for mode, values in found.items()}


def test_two_bits_are_tried_only_where_their_error_is_made_good(folder: Path, tmp_path: Path):
    found = json.loads((folder / "m.sensitivity.json").read_text(encoding="utf-8"))["groups"]
    tried = {one["name"]: {format_["format"] for format_ in one["formats"]} for one in found}
    assert "int2:128" in tried["layers.0.mlp.down_proj"]
    assert "int2:128" not in tried["lm_head"]
    with pytest.raises(ConfigError, match=r"--bits 3 is too small: with this method it can be --bits 4\.\d+ at least"):
        _export(tmp_path / "m", folder, method="rtn", budget=Budget(bits=3))


def test_a_matrix_with_a_format_of_the_users_own_keeps_it(folder: Path, tmp_path: Path):
    own = ("layers.0.*_proj=int8:32", "lm_head=int8:32")
    made = _export(tmp_path / "m", folder, overrides=own, method="rtn", budget=Budget(bits=8), layout="phi3")
    formats = {info.name: info.format for info in Bundle(made).tensor_index().tensors}
    assert formats["layers.0.mlp.down_proj"] == formats["lm_head"] == "int8:32"
    assert len(json.loads((tmp_path / "m.sensitivity.json").read_text())["groups"]) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"budget": Budget(step_bytes=1000)}, "--budget 0.001MB is too small: with this method it can be --budget"),
        ({"budget": Budget(bits=4), "calibration": ()}, "--budget and --bits need examples; add --calibration"),
        ({"budget": Budget(bits=4), "recipe": "int4-gpu"}, "a budget is for the CPU"),
        ({"budget": Budget(bits=4), "layout_name": "transformersjs"}, "no name for a mixed recipe"),
        ({"budget": Budget(bits=4), "overrides": ("*=int8:32",)}, "the budget has nothing to choose"),
        ({"sensitivity": "s.json", "calibration": ()}, "--sensitivity is for --budget and --bits"),
        ({"recipe": "nowhere.json", "calibration": ()}, "unknown recipe 'nowhere.json'; known: .*path of a recipe"),
    ],
)
def test_what_cannot_be_followed_is_refused_before_anything_is_measured(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], message: str
):
    monkeypatch.setattr("edgephi_export.budget.decoder_sequences", None)
    name = options.pop("layout_name", "edgephi")
    chosen = ExportOptions(**{"calibration": (folder / "examples",), **options, "layout": name})
    with pytest.raises(ConfigError, match=message):
        export(small_checkpoint("native").path, tmp_path / "m", chosen)
    assert list(tmp_path.iterdir()) == []


def test_a_kind_of_request_without_an_example_is_refused(tmp_path: Path):
    write_examples(tmp_path / "examples", "text", "speech")
    with pytest.raises(ConfigError, match="no calibration example for vision fits"):
        _export(tmp_path / "m", tmp_path, budget=Budget(bits=5))


def test_a_measurement_of_other_examples_is_neither_used_nor_lost(folder: Path, tmp_path: Path):
    write_examples(tmp_path / "examples", "text", "speech", "vision", count=1)
    kept = (folder / "m.sensitivity.json").read_bytes()
    with pytest.raises(ConfigError, match=r"m\.sensitivity\.json: was measured on another checkpoint"):
        _export(tmp_path / "m", tmp_path, budget=Budget(bits=5), sensitivity=folder / "m.sensitivity.json")
    assert (folder / "m.sensitivity.json").read_bytes() == kept


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"surprise": 1}, ArtifactError, "unknown key 'surprise'"),
        ({"method": "magic"}, ConfigError, "unknown method 'magic'"),
        ({"activations": "float16"}, ConfigError, "computes with float16"),
        ({"rules": [{"pattern": "*", "format": "int5:32"}]}, ConfigError, "unknown format 'int5:32'"),
    ],
)
def test_a_damaged_recipe_file_is_named(
    folder: Path, tmp_path: Path, change: dict[str, Any], error: type[Exception], message: str
):
    recipe = json.loads((folder / "m.recipe.json").read_text(encoding="utf-8"))
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({**recipe, **change}), encoding="utf-8")
    with pytest.raises(error, match=rf"(?s)mine\.json.*{message}"):
        export(small_checkpoint("native").path, tmp_path / "m", ExportOptions(recipe=str(path)))
