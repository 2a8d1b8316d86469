"""An interrupted or failed export must leave nothing that looks like a model, and never harm the one that was there."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgephi.bundle import Bundle
from edgephi.errors import ArtifactError, CapacityError, ConfigError
from edgephi_export import ExportOptions, Progress, export, staging
from support.bundles import copy_bundle, small_bundle, small_checkpoint

TEXT_ONLY = ExportOptions(adapters="none")


def _fail_in(stage: str, error: BaseException) -> Callable[[Progress], None]:
    """Raise once `stage` has written something."""
    start: list[int] = []

    def on_progress(step: Progress) -> None:
        if step.stage == stage:
            start.append(step.done_bytes)
            if step.done_bytes > start[0]:
                raise error

    return on_progress


@pytest.mark.parametrize("stage", ["decoder", "vision", "speech"])
@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), RuntimeError("bug"), MemoryError()], ids=lambda e: type(e).__name__
)
def test_nothing_is_left_when_an_export_ends_early(tmp_path: Path, stage: str, error: BaseException):
    with pytest.raises(type(error)):
        export(small_checkpoint().path, tmp_path / "out", on_progress=_fail_in(stage, error))
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_said_plainly_and_leaves_nothing(tmp_path: Path):
    full = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(CapacityError, match="out: the disk filled up; nothing was kept"):
        export(small_checkpoint().path, tmp_path / "out", on_progress=_fail_in("decoder", full))
    assert not list(tmp_path.iterdir())


def test_too_little_space_is_seen_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(staging.shutil, "disk_usage", lambda path: SimpleNamespace(free=10_000_000))
    with pytest.raises(CapacityError, match=r"the export needs \d+ MB, the disk has 10 MB free; free some space"):
        export(small_checkpoint().path, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_the_space_asked_for_is_enough(tmp_path: Path):
    steps: list[Progress] = []
    export(small_checkpoint().path, tmp_path / "out", on_progress=steps.append)
    written = sum(file.stat().st_size for file in (tmp_path / "out" / "weights").iterdir())
    assert written == steps[-1].done_bytes <= steps[-1].total_bytes
    assert [step.done_bytes for step in steps] == sorted(step.done_bytes for step in steps)


def test_an_existing_folder_is_refused_without_force(tmp_path: Path):
    bundle = copy_bundle(small_bundle(), tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in bundle.rglob("*")}
    with pytest.raises(ConfigError, match="out: already exists; choose another folder, or --force"):
        export(small_checkpoint().path, bundle, TEXT_ONLY)
    assert {path: path.stat().st_mtime_ns for path in bundle.rglob("*")} == before


def test_force_replaces_a_model_folder(tmp_path: Path):
    bundle = copy_bundle(small_bundle(), tmp_path / "out")
    export(small_checkpoint().path, bundle, ExportOptions(adapters="none", force=True))
    assert Bundle(bundle, check_hashes=True).manifest.modalities == ("text",)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("bug")], ids=["interrupt", "bug"])
def test_force_keeps_the_old_model_until_the_new_one_is_complete(tmp_path: Path, error: BaseException):
    bundle = copy_bundle(small_bundle(), tmp_path / "out")
    with pytest.raises(type(error)):
        export(small_checkpoint().path, bundle, ExportOptions(force=True), _fail_in("speech", error))
    Bundle(bundle, check_hashes=True)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_force_puts_the_old_model_back_when_the_swap_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    bundle = copy_bundle(small_bundle(), tmp_path / "out")
    rename = Path.rename

    def refuse(self: Path, target: Path) -> Path:
        if ".partial-" in self.name:
            raise PermissionError("no")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(PermissionError):
        export(small_checkpoint().path, bundle, ExportOptions(force=True))
    Bundle(bundle, check_hashes=True)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_force_never_replaces_anything_but_a_model(tmp_path: Path, kind: str):
    out = tmp_path / "out"
    if kind == "folder":
        out.mkdir()
        (out / "thesis.txt").write_text("years of work")
    elif kind == "file":
        out.write_text("years of work")
    else:
        out.symlink_to(copy_bundle(small_bundle(), tmp_path / "model"))
    with pytest.raises(ConfigError, match="out: exists and is not an edgephi model folder"):
        export(small_checkpoint().path, out, ExportOptions(force=True))
    assert out.exists()


def test_the_checkpoint_is_never_the_output(tmp_path: Path):
    folder = small_checkpoint("phi3").path
    for output in (folder, folder.parent):
        with pytest.raises(ConfigError, match="already exists"):
            export(folder, output)
        with pytest.raises(ConfigError, match=r"is not an edgephi model folder|the checkpoint is in there"):
            export(folder, output, ExportOptions(force=True))
    assert (folder / "config.json").is_file()


def test_a_missing_parent_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="nowhere: no such folder; make it first"):
        export(small_checkpoint().path, tmp_path / "nowhere" / "out")


def test_a_relative_output_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert export(small_checkpoint("phi3").path, "out") == Path("out")
    Bundle("out", check_hashes=True)


def test_a_checkpoint_that_breaks_half_way_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def unreadable(self: object) -> None:
        raise ArtifactError("model.safetensors: tensor x cannot be read")

    monkeypatch.setattr("edgephi_export.safetensors_file.StoredTensor.map", unreadable)
    with pytest.raises(ArtifactError, match="tensor x"):
        export(small_checkpoint().path, tmp_path / "out")
    assert not list(tmp_path.iterdir())
