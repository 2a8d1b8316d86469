"""`edgephi pull` against a hub on this machine: what comes is whole, or nothing looks like a model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgephi.bundle.bundle import MANIFEST_NAME, Bundle
from support.bundles import copy_bundle, described, small_bundle, small_checkpoint
from support.fake_hub import COMMIT, FakeHub
from support.hub_process import run_with_hub
from support.shell import invoke

MODEL = "somebody/phi-edge"


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub() as server:
        yield server


@pytest.fixture
def uploaded(hub: FakeHub, tmp_path: Path) -> Path:
    """The folder that the repository holds."""
    folder = copy_bundle(small_bundle("phi3", recipe="int4"), tmp_path / "repository")
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# somebody's words")
    hub.add(MODEL, folder)
    return folder


def _pull(hub: FakeHub, tmp_path: Path, *more: object, model: str = MODEL, **environment: str) -> Any:
    return run_with_hub(hub, tmp_path, "pull", model, "-o", tmp_path / "out", *more, **environment)


def _refused(done: Any, tmp_path: Path, code: int, *words: str) -> None:
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    line = done.stderr.splitlines()[-1]
    assert line.startswith("error: ")
    for word in words:
        assert word in line
    assert not (tmp_path / "out").exists()
    for found in tmp_path.rglob(MANIFEST_NAME):
        assert "hf" in found.parts or found.parent.name == "repository"


def test_a_pulled_folder_is_the_uploaded_one_and_runs(hub: FakeHub, uploaded: Path, tmp_path: Path):
    done = _pull(hub, tmp_path)
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out"
    Bundle(out, check_hashes=True)
    for path in uploaded.rglob("*"):
        if path.is_file():
            assert (out / path.relative_to(uploaded)).read_bytes() == path.read_bytes()
    assert "every file as its manifest says; licence not stated" in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hf", "out", "repository"]
    assert invoke("run", out, "hello", "--max-new-tokens", "2").exit_code == 0


def test_the_licence_that_travels_is_shown(hub: FakeHub, tmp_path: Path):
    checkpoint = Path(shutil.copytree(small_checkpoint("phi3").path, tmp_path / "checkpoint"))
    (checkpoint / "LICENSE").write_text("\n  The Licence of Ours 1.0\n")
    repository = tmp_path / "repository"
    assert invoke("export", checkpoint, "-o", repository, "--push-ready").exit_code == 0
    hub.add(MODEL, repository)
    done = _pull(hub, tmp_path, "--json")
    assert json.loads(done.stdout)["licence"] == "The Licence of Ours 1.0"
    assert (tmp_path / "out/LICENSE").is_file()
    assert (tmp_path / "out/README.md").is_file()


def test_an_interrupted_pull_goes_on_where_it_stopped(hub: FakeHub, uploaded: Path, tmp_path: Path):
    hub.break_off(after=1000, times=30)
    done = _pull(hub, tmp_path)
    assert done.returncode == 1, done.stdout
    assert "could not be downloaded" in done.stderr
    assert "run it again to go on from there" in done.stderr
    assert not (tmp_path / "out").exists()
    fetched = set(hub.files())
    assert "decoder.onnx" in fetched
    hub.break_off(after=0, times=0)
    hub.asked.clear()
    done = _pull(hub, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "decoder.onnx" not in hub.files()
    Bundle(tmp_path / "out", check_hashes=True)


@pytest.mark.parametrize("name", ["weights/decoder.bin", "tokenizer.json"])
def test_a_file_that_is_not_what_the_manifest_says_is_refused(hub: FakeHub, uploaded: Path, tmp_path: Path, name: str):
    content = bytearray((uploaded / name).read_bytes())
    content[len(content) // 2] ^= 1
    (uploaded / name).write_bytes(content)
    _refused(_pull(hub, tmp_path), tmp_path, 3, f"{name} is not what its edgephi.json says", "run it again")


def test_a_listed_file_that_is_missing_is_named(hub: FakeHub, uploaded: Path, tmp_path: Path):
    (uploaded / "tensors.json").unlink()
    _refused(_pull(hub, tmp_path), tmp_path, 3, "tensors.json is missing there, which its edgephi.json lists")


def test_a_checkpoint_is_no_model_folder(hub: FakeHub, tmp_path: Path):
    hub.add(MODEL, small_checkpoint("phi3").path)
    words = (f"{MODEL}: holds no edgephi model folder", f"`edgephi export {MODEL} -o {tmp_path / 'out'}`")
    _refused(_pull(hub, tmp_path), tmp_path, 3, *words)


def test_a_manifest_that_reaches_outside_its_folder_is_refused(hub: FakeHub, uploaded: Path, tmp_path: Path):
    manifest = described(uploaded)
    manifest["files"][0]["path"] = "../../evil"
    (uploaded / MANIFEST_NAME).write_text(json.dumps(manifest))
    _refused(_pull(hub, tmp_path), tmp_path, 3, "is not inside the model folder")


def test_what_is_not_there_or_not_for_everybody_is_one_line(hub: FakeHub, uploaded: Path, tmp_path: Path):
    _refused(_pull(hub, tmp_path, model="no/body"), tmp_path, 1, "no such repository, or not one for you")
    _refused(_pull(hub, tmp_path, "--revision", "v9"), tmp_path, 1, "it has no revision 'v9'")
    hub.repositories[MODEL].gated = True
    _refused(_pull(hub, tmp_path), tmp_path, 1, "it is gated; ask for access on its page")
    _refused(_pull(hub, tmp_path, HF_HUB_OFFLINE="1"), tmp_path, 1, "HF_HUB_OFFLINE is set")
    hub.stop()
    _refused(_pull(hub, tmp_path), tmp_path, 1, "the hub cannot be reached")


@pytest.mark.parametrize("model", ["nobody", "a/b/c", "-/x", "../x", ""])
def test_what_can_be_no_id_never_reaches_the_hub(model: str, tmp_path: Path):
    done = invoke("pull", "--output", tmp_path / "out", "--", model)
    assert done.exit_code == 2
    assert "is no id of the Hugging Face hub; give ORG/NAME" in done.stderr


def test_a_disk_that_is_too_small_is_found_before_the_weights(hub: FakeHub, uploaded: Path, tmp_path: Path):
    manifest = described(uploaded)
    for file in manifest["files"]:
        if file["path"] == "weights/decoder.bin":
            file["bytes"] = 2**50
    (uploaded / MANIFEST_NAME).write_text(json.dumps(manifest))
    _refused(_pull(hub, tmp_path), tmp_path, 4, "the download needs", "the disk has")
    assert "decoder.bin" not in hub.files()


def test_an_existing_folder_is_replaced_only_by_force_and_a_whole_one(hub: FakeHub, uploaded: Path, tmp_path: Path):
    old = copy_bundle(small_bundle("phi3"), tmp_path / "out")
    done = _pull(hub, tmp_path)
    assert done.returncode == 2
    assert "already exists" in done.stderr
    hub.break_off(after=100, times=30)
    assert _pull(hub, tmp_path, "--force").returncode == 1
    assert Bundle(old, check_hashes=True).manifest.recipe.name == "fp32"
    hub.break_off(after=0, times=0)
    done = _pull(hub, tmp_path, "--force", "--revision", COMMIT)
    assert done.returncode == 0, done.stderr
    assert Bundle(old, check_hashes=True).manifest.recipe.name == "int4"
