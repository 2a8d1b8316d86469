"""A Hugging Face id must download no more than needed, and failing to must say what else to do."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub.utils import logging as hub_logging

from edgephi.bundle import Bundle
from edgephi.errors import ArtifactError, EdgeError
from edgephi_export import ExportOptions, export
from edgephi_export.hub import locate
from support.bundles import small_checkpoint

REVISION = "0123456789abcdef0123456789abcdef01234567"


class _Hub:
    """Stands in for the hub: one repository, and a record of what was asked for."""

    def __init__(self, checkpoint: Path, root: Path) -> None:
        self.snapshot = root / "snapshots" / REVISION
        shutil.copytree(checkpoint, self.snapshot)
        self.patterns: list[str] = []

    def download(self, repo_id: str, filename: str, **options: Any) -> str:
        return str(self.snapshot / filename)

    def snapshot_download(self, repo_id: str, *, revision: str, allow_patterns: list[str]) -> str:
        assert revision == REVISION  # one export never mixes two states of a repository
        self.patterns = allow_patterns
        return str(self.snapshot)


def _hub(layout: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> _Hub:
    hub = _Hub(small_checkpoint(layout).path, tmp_path / "cache")
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", hub.download)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub.snapshot_download)
    return hub


def test_the_revision_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    _hub("phi3", tmp_path, monkeypatch)
    out = export("microsoft/Phi-4-mini-instruct", tmp_path / "out", ExportOptions(adapters="none"))
    source = Bundle(out).manifest.source
    assert (source.id, source.revision) == ("microsoft/Phi-4-mini-instruct", REVISION)


@pytest.mark.parametrize(("layout", "adapters"), [("native", True), ("original", False)])
def test_adapter_folders_are_fetched_only_where_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str, adapters: bool
):
    hub = _hub(layout, tmp_path, monkeypatch)
    locate("some/model")
    assert ("speech-lora/adapter_model.safetensors" in hub.patterns) == adapters
    assert "model-*.safetensors" in hub.patterns
    assert not any(pattern.endswith((".bin", ".py", "*")) for pattern in hub.patterns)


def test_no_network_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def offline(*arguments: Any, **options: Any) -> str:
        raise ConnectionError("Cannot reach huggingface.co\nlong story")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    with pytest.raises(
        EdgeError, match=r"could not be downloaded \(Cannot reach huggingface\.co\).*pass its folder"
    ) as caught:
        export("some/model", tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["", "x" * 300, "nothing", "a/b/c", "./some/model", "/some/model", "some/", "../x"])
def test_what_is_no_id_is_a_missing_folder(name: str):
    with pytest.raises(ArtifactError, match="no such checkpoint; give a folder with"):
        locate(name)


def test_retries_are_not_logged_and_the_level_comes_back(monkeypatch: pytest.MonkeyPatch):
    """The library would print two lines per try; the user gets the one error at the end."""
    levels = []

    def offline(*arguments: object, **options: object) -> None:
        levels.append(logging.getLogger("huggingface_hub.utils._http").getEffectiveLevel())
        raise ConnectionError("down")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    before = hub_logging.get_verbosity()
    with pytest.raises(EdgeError, match=r"\(down\)"):
        locate("microsoft/Phi-4-mini-instruct")
    assert levels == [logging.ERROR]
    assert hub_logging.get_verbosity() == before


def test_a_file_is_no_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "model").write_text("")
    with pytest.raises(ArtifactError, match="no such checkpoint"):
        locate("some/model")
