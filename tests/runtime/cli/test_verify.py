"""`edgephi verify`: what is damaged, and what was lost, must be said before a model is shipped."""

from __future__ import annotations

import json
import math
import os
import pty
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from edgephi.bundle.bundle import Bundle
from edgephi.inspection import plugins, verification
from edgephi.inspection.comparison import ComparisonReport, OnProgress, TensorComparison
from support.bundles import copy_bundle, small_bundle, small_checkpoint
from support.shell import invoke, spawn


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_whole_folder_is_exit_0():
    done = spawn("verify", small_bundle())
    assert (done.returncode, done.stderr) == (0, "")
    count = len(Bundle(small_bundle()).manifest.files)
    assert f"files     {count}, " in done.stdout
    assert "all as the manifest says" in done.stdout


def test_every_changed_file_is_named_and_the_exit_code_is_3(tmp_path: Path):
    folder = copy_bundle(small_bundle(), tmp_path / "m")
    changed = ["chat_template.jinja", "weights/speech.bin"]
    for name in changed:
        _flip(folder / name)
    done = invoke("verify", folder)
    assert done.exit_code == 3
    assert "content differs from the manifest in 2:" in done.stdout
    for name in changed:
        assert f"\n          {name}\n" in done.stdout
    assert done.stderr == (
        f"error: {folder}/chat_template.jinja: content differs from the manifest, and so do 1 more; "
        "copy or export the model again\n"
    )
    facts = json.loads(invoke("verify", folder, "--json").stdout)
    assert (facts["ok"], facts["changed"], facts["tensors"]) == (False, changed, None)


def test_programs_get_one_object():
    done = invoke("verify", small_bundle(), "--json")
    facts = json.loads(done.stdout)
    assert (done.exit_code, done.stderr) == (0, "")
    assert (facts["ok"], facts["changed"], facts["reference"], facts["tensors"]) == (True, [], None, None)
    assert facts["bytes"] == sum(info.bytes for info in Bundle(small_bundle()).manifest.files)


def test_a_damaged_manifest_or_index_is_one_line(tmp_path: Path):
    folder = copy_bundle(small_bundle(), tmp_path / "m")
    path = folder / "tensors.json"
    path.write_bytes(b"{" * path.stat().st_size)
    done = invoke("verify", folder)
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (3, "", 1)
    assert "tensors.json" in done.stderr
    path.unlink()
    assert "tensors.json: missing" in invoke("verify", folder).stderr


def test_progress_is_drawn_for_people_only():
    """Gigabytes take a while; a log file must not fill with bars."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "edgephi", "verify", str(small_bundle()), "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=theirs, check=False, timeout=60)
    os.close(theirs)
    drawn = os.read(ours, 1 << 16)
    os.close(ours)
    assert done.returncode == 0
    assert json.loads(done.stdout)["ok"]
    assert b"reading" in drawn
    assert b"100%" in drawn


def _tensor(name: str, sqnr_db: float, *, ok: bool = True, form: str = "int4:32") -> TensorComparison:
    return TensorComparison(name=name, part="decoder", format=form, sqnr_db=sqnr_db, floor_db=15.0, ok=ok)


INTACT = [_tensor(f"intact.{number:02}", 20.0 + number) for number in range(12)]
EXACT = _tensor("norm", math.inf, form="float32")


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[TensorComparison]:
    """What the host package finds; tests put tensors in."""
    found: list[TensorComparison] = []

    def compare(bundle_path: Path, checkpoint: str, on_progress: OnProgress) -> ComparisonReport:
        assert (Bundle(bundle_path).path, checkpoint) == (small_bundle(), "where/it/came/from")
        on_progress(1, 2)
        return ComparisonReport(tensors=tuple(found))

    monkeypatch.setattr(verification, "find_compare", lambda: compare)
    return found


def _verify(*options: str) -> Any:
    return invoke("verify", small_bundle(), "--reference", "where/it/came/from", *options)


def test_the_ten_worst_tensors_are_listed_worst_first(compared: list[TensorComparison]):
    compared += [EXACT, *reversed(INTACT)]
    done = _verify()
    assert (done.exit_code, done.stderr) == (0, "")
    assert "13 compared, 1 exact, 0 below their floor" in done.stdout
    listed = [line.split() for line in done.stdout.splitlines() if " int4:32 " in line]
    assert listed == [[tensor.name, "int4:32", f"{tensor.sqnr_db:.1f}", "15.0"] for tensor in INTACT[:10]]
    assert "norm" not in done.stdout


def test_everything_below_its_floor_is_listed_first_and_fails(compared: list[TensorComparison]):
    """However many there are; one that is not a number is the worst of all."""
    lost = [_tensor(f"lost.{number:02}", 3.0 * number, ok=False) for number in range(11)]
    compared += [*INTACT, *lost, _tensor("broken", math.nan, ok=False)]
    done = _verify()
    assert done.exit_code == 3
    assert "12 below their floor" in done.stdout
    marked = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("! ")]
    assert marked == ["broken", *(tensor.name for tensor in lost)]
    assert "intact" not in done.stdout
    assert done.stderr == (
        f"error: {small_bundle()}: 12 of 24 tensors are further from the checkpoint than their format explains; "
        "export the model again\n"
    )


def test_json_holds_every_tensor_and_no_number_that_json_lacks(compared: list[TensorComparison]):
    compared += [EXACT, *INTACT, _tensor("zero", -math.inf, ok=False)]
    done = _verify("--json")
    facts = json.loads(done.stdout, parse_constant=pytest.fail)
    assert (done.exit_code, facts["ok"], facts["below_floor"]) == (3, False, 1)
    assert facts["reference"] == "where/it/came/from"
    assert [tensor["name"] for tensor in facts["tensors"]] == ["zero", *(t.name for t in INTACT), "norm"]
    first, last = facts["tensors"][0], facts["tensors"][-1]
    assert (first["sqnr_db"], first["exact"], last["sqnr_db"], last["exact"]) == (None, False, None, True)


def test_a_damaged_folder_is_not_compared(compared: list[TensorComparison], tmp_path: Path):
    folder = copy_bundle(small_bundle(), tmp_path / "m")
    _flip(folder / "weights" / "decoder.bin")
    done = invoke("verify", folder, "--reference", "where/it/came/from")
    assert done.exit_code == 3
    assert "not compared, because files differ" in done.stdout
    assert "decoder.bin: content differs from the manifest; copy or export" in done.stderr


@pytest.mark.parametrize("value", [None, "no_such_package.compare:compare"])
def test_without_the_host_package_the_pip_command_is_named_before_anything_is_read(
    monkeypatch: pytest.MonkeyPatch, value: str | None
):
    points = [] if value is None else [EntryPoint(name="compare", value=value, group=plugins.PLUGIN_GROUP)]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group, name: points)
    done = invoke("verify", "no/such/model", "--reference", "x")
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.endswith('run: pip install "edgephi[export]"\n')


def test_the_host_packages_function_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "late_compare.py").write_text(
        "from edgephi.inspection.comparison import ComparisonReport\n"
        "def compare(bundle_path, checkpoint, on_progress):\n    return ComparisonReport(tensors=())\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    point = EntryPoint(name="compare", value="late_compare:compare", group="edgephi.plugins")
    asked = {"group": "edgephi.plugins", "name": "compare"}
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **keys: [point] if keys == asked else [])
    done = invoke("verify", small_bundle(), "--reference", "x")
    assert (done.exit_code, done.stderr) == (0, "")
    assert "0 compared" in done.stdout


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> None:
    """The host package, whether this checkout was installed or not."""
    point = EntryPoint(
        name="compare", value="edgephi_export.fidelity.weights:compare_with_checkpoint", group=plugins.PLUGIN_GROUP
    )
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **_: [point])


@pytest.mark.parametrize("recipe", ["fp32", "int4", "fp16"])
def test_an_export_is_close_to_its_checkpoint(host: None, recipe: str):
    folder = small_bundle(recipe=recipe)
    done = invoke("verify", folder, "--reference", small_checkpoint().path, "--json")
    facts = json.loads(done.stdout)
    assert (done.exit_code, facts["below_floor"]) == (0, 0)
    assert {tensor["name"] for tensor in facts["tensors"]} == {t.name for t in Bundle(folder).tensor_index().tensors}
    assert all(tensor["exact"] for tensor in facts["tensors"]) == (recipe == "fp32")


def test_another_checkpoint_of_the_same_shape_is_noticed(host: None):
    done = invoke("verify", small_bundle(recipe="int4"), "--reference", small_checkpoint(seed=1).path)
    assert done.exit_code == 3
    assert "! layers.0.mlp.down_proj" in done.stdout
    assert "are further from the checkpoint than their format explains" in done.stderr


def test_a_reference_that_is_not_there_is_one_line(host: None):
    done = invoke("verify", small_bundle(), "--reference", "./no/such/checkpoint")
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (3, "", 1)
    assert "no/such/checkpoint" in done.stderr
