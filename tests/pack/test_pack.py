"""From a model folder to a device that answers as recorded, with stock commands."""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edgephi_agent.cli import main as agent
from edgephi_pack.chunks import cuts
from edgephi_pack.cli import main
from support.bundles import copy_bundle, small_bundle
from support.faults import with_tensor
from support.probes import write_samples
from support.shell import invoke

_FACTS = ("--name", "kiosk", "--version", "1.0")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys, a model and its record. Read only."""
    place = tmp_path_factory.mktemp("pack")
    assert _run("keys", place / "keys").exit_code == 0
    copy_bundle(small_bundle(), place / "model")
    (place / "probe").mkdir()
    write_samples(place / "probe", place / "model", ("text", "speech"))
    assert invoke("probe", place / "model", "--record").exit_code == 0
    return place


@pytest.fixture(scope="module")
def packed(bench: Path) -> Path:
    """Its bundle. Read only."""
    done = _pack(bench, bench / "one.edgephi", 1, "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["bytes"] == (bench / "one.edgephi").stat().st_size
    return bench / "one.edgephi"


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(one) for one in arguments], env={"SOURCE_DATE_EPOCH": "1790000000"})


def _pack(bench: Path, output: Path, counter: int, *more: object, model: Path | None = None) -> Result:
    places = (model or bench / "model", "-o", output, "--probe", bench / "probe", "--keys", bench / "keys")
    return _run("bundle", *places, *_FACTS, "--counter", counter, *more)


def test_keys_are_readable_by_their_owner_only_and_never_replaced(bench: Path):
    names = {path.name for path in (bench / "keys").iterdir()}
    assert names == {"root-1.pem", "root-2.pem", "root-3.pem", "release.pem", "1.root.json"}
    assert stat.S_IMODE((bench / "keys/release.pem").stat().st_mode) == 0o600
    again = _run("keys", bench / "keys")
    assert (again.exit_code, "already exists" in again.stderr) == (2, True)
    assert _run("keys", bench / "more", "--threshold", "4").exit_code == 2


def test_a_packed_model_proves_itself_on_a_device(
    bench: Path, packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "device").mkdir()
    root = ("--root", str(tmp_path / "device"))
    assert agent(["init", str(bench / "keys/1.root.json"), *root]) == 0
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert agent(["install", str(packed), *root, "--device", str(tmp_path / "none")]) == 0
    assert (tmp_path / "device/current/model/edgephi.json").samefile(
        next((tmp_path / "device/releases").glob("1-*/model/edgephi.json"))
    )
    assert agent(["verify", "--deep", *root]) == 0


def test_packing_twice_gives_the_same_bytes(bench: Path, packed: Path, tmp_path: Path):
    shutil.copytree(bench / "model", tmp_path / "moved")
    assert _pack(bench, tmp_path / "again", 1, model=tmp_path / "moved").exit_code == 0
    assert (tmp_path / "again").read_bytes() == packed.read_bytes()


def test_a_model_that_fails_its_own_probe_is_not_packed(bench: Path, tmp_path: Path):
    faulty = with_tensor(bench / "model", tmp_path / "model", "lm_head", lambda a: a[::-1].copy(), "values")
    done = _pack(bench, tmp_path / "out", 1, model=faulty)
    assert (done.exit_code, (tmp_path / "out").exists()) == (5, False)
    assert "the model does not pass its own probe here" in done.stderr


def test_what_is_missing_is_one_line(bench: Path, tmp_path: Path):
    for change, code, match in (
        (("--keys", tmp_path), 3, "1.root.json: missing; give the folder that"),
        (("--probe", tmp_path), 3, "make it with `edgephi probe MODEL --record`"),
        (("--app", tmp_path / "gone"), 2, "no such folder; give the one that becomes app/"),
    ):
        done = _pack(bench, tmp_path / "out", 1, *change)
        assert (done.exit_code, match in done.stderr) == (code, True), done.stderr


def test_a_damaged_model_is_one_line(bench: Path, tmp_path: Path):
    (copy_bundle(bench / "model", tmp_path / "model") / "tensors.json").write_text('{"tensors": [')
    done = _pack(bench, tmp_path / "out", 1, "--json", model=tmp_path / "model")
    assert (done.exit_code, json.loads(done.stdout)["error"]["type"]) == (3, "ArtifactError")
    assert "tensors.json" in done.stderr
    assert "Traceback" not in done.stderr


def test_chunks_begin_at_tensors_and_are_neither_tiny_nor_huge():
    mebi, kibi = 1 << 20, 1 << 10
    assert cuts(0) == ()
    assert cuts(10) == (10,)
    assert cuts(9 * mebi) == (4 * mebi, 8 * mebi, 9 * mebi)
    offsets = (0, 4 * kibi, 70 * kibi, 5 * mebi, 5 * mebi + 8)
    assert cuts(6 * mebi, offsets) == (70 * kibi, 4 * mebi + 70 * kibi, 5 * mebi, 6 * mebi)
