"""A model folder must not lose its licence on the way, and says before a download what that will be."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgephi.bundle.bundle import Bundle
from edgephi.bundle.documents import is_document, stated_licence
from edgephi_export import ExportOptions, export
from edgephi_export.layouts.record import ExportRecord
from support.bundles import small_bundle, small_checkpoint
from support.fake_hub import COMMIT, FakeHub
from support.hub_process import run_with_hub
from support.shell import invoke

CARD = "---\nlicense: mit\ntags:\n- x\n---\n# The card\n"
PAPERS = {
    "LICENSE": "MIT License\n\nCopyright",
    "NOTICE.md": "notice",
    "SECURITY.md": "report here",
    "README.md": CARD,
    "USE_POLICY.md": "do no harm",
}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    folder = Path(shutil.copytree(small_checkpoint("phi3").path, tmp_path / "checkpoint"))
    for name, text in PAPERS.items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub() as server:
        yield server


def test_licence_and_card_travel_with_their_hashes(checkpoint: Path, tmp_path: Path):
    folder = export(checkpoint, tmp_path / "out")
    listed = {info.path for info in Bundle(folder, check_hashes=True).manifest.files}
    for name, text in PAPERS.items():
        copied = "source/README.md" if name == "README.md" else name
        assert copied in listed
        assert (folder / copied).read_text() == text
    assert not (folder / "README.md").exists()
    done = invoke("inspect", folder)
    assert re.search(
        r"^licence\s+mit \(LICENSE, NOTICE\.md, SECURITY\.md, USE_POLICY\.md, source/README\.md\)$", done.stdout, re.M
    )
    facts = json.loads(invoke("inspect", folder, "--json").stdout)
    assert (facts["licence"], len(facts["papers"])) == ("mit", 5)
    genai = ExportRecord.load(export(checkpoint, tmp_path / "genai", ExportOptions(layout="genai")))
    assert "LICENSE" in {info.path for info in genai.files}


def test_a_checkpoint_without_a_licence_is_exported_and_that_is_said(tmp_path: Path):
    done = invoke("export", small_checkpoint("phi3").path, "-o", tmp_path / "out")
    assert done.exit_code == 0
    assert done.stdout.strip().endswith("; the checkpoint states no licence")
    assert re.search(r"^licence\s+not stated$", invoke("inspect", tmp_path / "out").stdout, re.M)


@pytest.mark.parametrize(
    ("text", "licence"),
    [
        (CARD, "mit"),
        ("---\nlicense: 'apache-2.0'\n---\n", "apache-2.0"),
        ("---\nlicense: other\nlicense_name: phi-license\nx: y\n---", "phi-license"),
        ("---\nlicense_link: mit\n---\n", None),
        ("license: mit\n", None),
        ("", None),
        ("---\nlicense: mit", None),
    ],
)
def test_a_cards_front_matter_states_the_licence(text: str, licence: str | None):
    assert stated_licence(text) == licence


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("LICENSE", True), ("license.txt", True), ("LICENCE-2.0.md", True), ("LICENSES.md", True), ("COPYING", True),
        ("NOTICE", True), ("README.md", True), ("MODEL_CARD.md", True), ("SECURITY.md", True),
        ("CODE_OF_CONDUCT.md", True),
        ("README", True), ("licensed_data.bin", False), ("model.safetensors", False), ("config.json", False),
        ("noticeboard.txt", False), ("readme/x", False), ("merges.txt", False),
    ],
)  # fmt: skip
def test_documents_are_known_by_their_names(name: str, wanted: bool):
    assert is_document(name) == wanted


def test_a_folder_that_is_ready_to_be_uploaded_has_a_card_of_its_own(checkpoint: Path, tmp_path: Path, hub: FakeHub):
    done = invoke("export", checkpoint, "-o", tmp_path / "out", "--push-ready", "--recipe", "int4")
    assert done.exit_code == 0, done.stderr
    card = (tmp_path / "out/README.md").read_text()
    front = card.split("---\n")[1]
    assert "license: mit\n" in front
    assert "library_name: edgephi\n" in front
    assert "pipeline_tag: text-generation\n" in front
    assert "base_model" not in front  # a folder here is no id of the hub
    for words in ("- onnx\n", "- int4\n"):
        assert words in front
    assert "edgephi pull ORG/NAME -o model" in card
    assert "Licence of the checkpoint: mit." in card
    (tmp_path / "out/README.md").write_text("its owner goes on writing")
    Bundle(tmp_path / "out", check_hashes=True)


def test_the_card_names_the_base_model_and_what_the_folder_can_do(tmp_path: Path, hub: FakeHub):
    hub.add("some/phi4mm", small_checkpoint("native").path)
    out = tmp_path / "out"
    done = run_with_hub(hub, tmp_path, "export", "some/phi4mm", "-o", out, "--push-ready")
    assert done.returncode == 0, done.stderr
    card = (out / "README.md").read_text()
    assert "base_model: some/phi4mm\nbase_model_relation: quantized\npipeline_tag: image-text-to-text\n" in card
    assert "license: other\n" in card
    assert "came without a licence" in card
    assert COMMIT in card
    assert "edgephi transcribe model recording.wav" in card
    assert "--image photo.jpg" in card


def test_before_a_download_its_size_time_and_licence_are_said(checkpoint: Path, tmp_path: Path, hub: FakeHub):
    hub.add("some/phi", checkpoint)
    hub.listed_licence = "mit"
    done = run_with_hub(hub, tmp_path, "export", "some/phi", "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    [line] = [line for line in done.stderr.splitlines() if "to download" in line]
    words = r"some/phi: [\d.]+ MB to download, licence mit; some 1 s at 100 Mbit/s, then about 1 s to export"
    assert re.match(words, line)
    assert (tmp_path / "out/LICENSE").read_text() == PAPERS["LICENSE"]
    assert (tmp_path / "out/source/README.md").read_text() == CARD
    again = run_with_hub(hub, tmp_path, "export", "some/phi", "-o", tmp_path / "again")
    assert "to download" not in again.stderr
    assert Bundle(tmp_path / "again").manifest.files == Bundle(tmp_path / "out").manifest.files
    quiet = run_with_hub(hub, tmp_path / "new", "export", "some/phi", "-o", tmp_path / "quiet", "--json")
    assert "to download" not in quiet.stderr


def test_documents_are_no_weights_and_never_stop_a_model(tmp_path: Path):
    """What an export made before has none; it goes on working."""
    assert "papers" in json.loads(invoke("inspect", small_bundle(), "--json").stdout)
