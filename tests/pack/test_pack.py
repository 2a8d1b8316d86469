"""From a model folder to a device that answers as recorded, with stock commands."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from edgephi_agent.cli import main as agent
from edgephi_pack.chunks import cuts
from support.bundles import copy_bundle
from support.faults import with_tensor
from support.releasing import make_bench, pack, run_pack


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys, a model and its record. Read only."""
    return make_bench(tmp_path_factory.mktemp("pack"))


@pytest.fixture(scope="module")
def packed(bench: Path) -> Path:
    """Its bundle. Read only."""
    done = pack(bench, bench / "one.edgephi", 1, "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["bundles"][0]["bytes"] == (bench / "one.edgephi").stat().st_size
    return bench / "one.edgephi"


@pytest.fixture
def device(bench: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """The options of a device that trusts the keys; its edgephi is the one that is tested."""
    (tmp_path / "device").mkdir()
    root = ("--root", str(tmp_path / "device"))
    assert agent(["init", str(bench / "keys/1.root.json"), *root]) == 0
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    return root


def test_a_packed_model_proves_itself_on_a_device(packed: Path, device: tuple[str, str], tmp_path: Path):
    assert agent(["install", str(packed), *device, "--device", str(tmp_path / "none")]) == 0
    assert (tmp_path / "device/current/model/edgephi.json").samefile(
        next((tmp_path / "device/releases").glob("1-*/model/edgephi.json"))
    )
    assert (tmp_path / "device/current/licences/MODEL.txt").read_text().startswith("MIT License")
    assert agent(["verify", "--deep", *device]) == 0


def test_a_delta_has_what_changed_and_needs_the_earlier_release(
    bench: Path, packed: Path, device: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """What changed is carried as the difference, which is small."""
    changed = with_tensor(bench / "model", tmp_path / "model", "lm_head", _with_other_last_row, "values")
    done = pack(bench, tmp_path / "two.edgephi", 2, "--from", packed, "--json", model=changed)
    assert done.exit_code == 0, done.stderr
    full, delta = json.loads(done.stdout)["bundles"]
    assert delta["bundle"] == str(tmp_path / "two-from-1.edgephi")
    assert delta["bytes"] < full["bytes"] / 4
    install = ["install", delta["bundle"], *device, "--device", str(tmp_path / "none")]
    assert agent(install) == 3
    assert "install the full bundle" in capsys.readouterr().err
    assert agent(["install", str(packed), *device, "--device", str(tmp_path / "none")]) == 0
    assert agent(install) == 0
    assert agent(["verify", "--deep", *device]) == 0
    assert agent(["install", full["bundle"], *device, "--device", str(tmp_path / "none")]) == 0  # the same release
    index = json.loads((tmp_path / "device/current/release.json").read_text())
    assert any(chunk["subtractions"] for chunk in index["chunks"])


def _with_other_last_row(values: np.ndarray) -> np.ndarray:
    return np.concatenate([values[:-1], values[-1:] * np.float32(1.00001)])


def test_a_delta_is_made_against_a_bundle_of_the_same_keys(bench: Path, packed: Path, tmp_path: Path):
    assert run_pack("keys", "new", tmp_path / "keys").exit_code == 0
    done = pack(bench, tmp_path / "delta", 2, "--from", packed, "--keys", tmp_path / "keys")
    assert (done.exit_code, "signed by other keys" in done.stderr) == (3, True)
    done = pack(bench, tmp_path / "delta", 2, "--from", bench / "LICENCE")
    assert done.exit_code == 3
    assert not (tmp_path / "delta").exists()


def test_packing_twice_gives_the_same_bytes(bench: Path, packed: Path, tmp_path: Path):
    """Also from another folder and with fewer cores, which is fewer threads."""
    shutil.copytree(bench / "model", tmp_path / "moved")
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        assert pack(bench, tmp_path / "again", 1, model=tmp_path / "moved").exit_code == 0
    finally:
        os.sched_setaffinity(0, cores)
    assert (tmp_path / "again").read_bytes() == packed.read_bytes()


def test_a_model_that_fails_its_own_probe_is_not_packed(bench: Path, tmp_path: Path):
    faulty = with_tensor(bench / "model", tmp_path / "model", "lm_head", lambda a: a[::-1].copy(), "values")
    done = pack(bench, tmp_path / "out", 1, model=faulty)
    assert (done.exit_code, (tmp_path / "out").exists()) == (5, False)
    assert "the model does not pass its own probe here" in done.stderr


def test_what_is_missing_is_one_line(bench: Path, tmp_path: Path):
    (tmp_path / "empty").write_text("\n")
    for change, code, match in (
        (("--keys", tmp_path), 3, "1.root.json: missing; give the folder that"),
        (("--probe", tmp_path), 3, "make it with `edgephi probe MODEL --record`"),
        (("--app", tmp_path / "gone"), 3, "give the folder that `edgephi-pack app` made"),
        (("--model-licence", tmp_path / "gone"), 2, "give the model's licence"),
        (("--model-licence", tmp_path / "empty"), 2, "is empty; give the text"),
    ):
        done = pack(bench, tmp_path / "out", 1, *change)
        assert (done.exit_code, match in done.stderr) == (code, True), done.stderr


def test_a_damaged_model_is_one_line(bench: Path, tmp_path: Path):
    (copy_bundle(bench / "model", tmp_path / "model") / "tensors.json").write_text('{"tensors": [')
    done = pack(bench, tmp_path / "out", 1, "--json", model=tmp_path / "model")
    assert (done.exit_code, json.loads(done.stdout)["error"]["type"]) == (3, "ArtifactError")
    assert "tensors.json" in done.stderr
    assert "Traceback" not in done.stderr


def test_chunks_begin_at_tensors_and_are_neither_tiny_nor_huge():
    mebi, kibi = 1 << 20, 1 << 10
    assert cuts(0) == ()
    assert cuts(10) == (10,)
    assert cuts(9 * mebi) == (4 * mebi, 8 * mebi, 9 * mebi)
    small = tuple(range(0, 70 * kibi, 4 * kibi))
    assert cuts(80 * kibi, small) == (64 * kibi, 80 * kibi)
    assert cuts(6 * mebi, (0, 70 * kibi, 5 * mebi)) == (70 * kibi, 4 * mebi + 70 * kibi, 5 * mebi, 6 * mebi)


def test_a_large_tensor_has_the_same_chunks_whatever_small_ones_lie_before_it():
    """A norm or zero points of another size would else send a matrix of 25 MB anew."""
    mebi = 1 << 20
    for before in (8, 4096, 12_288):
        assert cuts(before + 9 * mebi, (0, before)) == (before, *(before + size * mebi for size in (4, 8, 9)))
