"""What is no folder and no id, and what goes wrong on this side of a download; test_hub_server has the other side."""

from __future__ import annotations

import errno
import logging
import sys
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import constants
from huggingface_hub import utils as hub_utils
from huggingface_hub.utils import logging as hub_logging

from edgephi.base.errors import ArtifactError, CapacityError, ConfigError, EdgeError
from edgephi_export import export
from edgephi_export.hub.download import locate
from support.bundles import small_checkpoint


def _fails_with(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(*arguments: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)


def test_a_folder_is_itself(monkeypatch: pytest.MonkeyPatch):
    """Nothing is asked of the hub for it, even if an id of that name exists."""
    _fails_with(AssertionError("the hub was asked"), monkeypatch)
    folder = small_checkpoint("phi3").path
    found = locate(folder)
    assert (found.folder, found.id, found.revision) == (folder, folder.name, None)


def test_a_folder_has_no_revision(tmp_path: Path):
    with pytest.raises(ConfigError) as caught:
        locate(str(tmp_path), "main")
    assert str(caught.value) == f"{tmp_path}: a folder here has no revision 'main'; leave --revision out, or give an id"


@pytest.mark.parametrize(
    "revision", ["", " ", "-x", "/main", "../../x", "a..b", "a//b", "a b", "a\nb", "a?b", "a#b", "main\n"]
)
def test_what_is_no_revision_never_reaches_the_hub(revision: str, monkeypatch: pytest.MonkeyPatch):
    """The library writes a file of that name into its cache."""
    _fails_with(AssertionError("the hub was asked"), monkeypatch)
    with pytest.raises(ConfigError, match=r"is no revision; give the name of a branch or tag, or a commit") as caught:
        locate("some/model", revision)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "x" * 300, "nothing", "a/b/c", "./some/model", "/some/model", "some/", "../x"])
def test_what_is_no_id_is_a_missing_folder(name: str):
    with pytest.raises(ArtifactError, match="no such checkpoint; give a folder with"):
        locate(name)


def test_a_file_is_no_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "model").write_text("")
    with pytest.raises(ArtifactError, match="no such checkpoint"):
        locate("some/model")


def test_without_the_library_the_command_to_install_it_is_said(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ConfigError, match=r"needs huggingface-hub: pip install 'edgephi\[export\]'"):
        locate("some/model")


def test_a_failure_of_any_kind_is_one_line_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    _fails_with(RuntimeError("the storage hung up\nlong story"), monkeypatch)
    with pytest.raises(EdgeError) as caught:
        export("some/model", tmp_path / "out")
    assert str(caught.value) == (
        "some/model: no such folder here, and it could not be downloaded: the storage hung up; run it again to go on "
        "from there, or download it elsewhere and pass its folder"
    )
    assert not list(tmp_path.iterdir())


def test_a_full_disk_names_the_cache(monkeypatch: pytest.MonkeyPatch):
    """The download does not lie beside the output, where a user would look."""
    _fails_with(OSError(errno.ENOSPC, "No space left on device"), monkeypatch)
    with pytest.raises(
        CapacityError, match="the disk of the download cache filled up; free some space, or set HF_HOME"
    ):
        locate("some/model")


@pytest.mark.parametrize("hidden", [True, False])
def test_the_library_is_quiet_and_then_as_before(monkeypatch: pytest.MonkeyPatch, hidden: bool):
    """It would print two lines per try, and half-drawn bars into a log file."""
    seen: list[Any] = []

    def down(*arguments: object, **options: object) -> None:
        level = logging.getLogger("huggingface_hub.utils._http").getEffectiveLevel()
        seen.append((level, hub_utils.are_progress_bars_disabled()))
        raise ConnectionError("down")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", down)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", None)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    before = hub_logging.get_verbosity()
    with pytest.raises(EdgeError, match="downloaded: down;"):
        locate("some/model", quiet=hidden)
    assert seen == [(logging.ERROR, hidden)]
    assert hub_logging.get_verbosity() == before
    assert not hub_utils.are_progress_bars_disabled()
