"""An interrupted or failed export must leave nothing that looks like a model, and never harm the one that was there."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgephi.base import atomic_write as staging
from edgephi.base.atomic_write import staged
from edgephi.base.errors import ArtifactError, CapacityError, ConfigError, EdgeError
from edgephi.bundle.bundle import Bundle
from edgephi_export import ExportOptions, Progress, export
from edgephi_export.exporter import MODEL_FOLDER
from support.bundles import copy_bundle, small_bundle, small_checkpoint

TEXT_ONLY = ExportOptions(adapters="none")


def _fail_in(stage: str, error: BaseException) -> Callable[[Progress], None]:
    """Raise once `stage` has written something."""
    start: list[int] = []

    def on_progress(step: Progress) -> None:
        if step.stage == stage:
            start.append(step.written_bytes)
            if step.written_bytes > start[0]:
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
    with pytest.raises(
        CapacityError, match=r"the export needs [0-9.]+ MB, the disk has 10.00 MB free; free some space"
    ):
        export(small_checkpoint().path, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_the_space_asked_for_is_enough(tmp_path: Path):
    steps: list[Progress] = []
    export(small_checkpoint().path, tmp_path / "out", on_progress=steps.append)
    written = sum(file.stat().st_size for file in (tmp_path / "out" / "weights").iterdir())
    assert written == steps[-1].total_written_bytes
    for done in ("read_bytes", "written_bytes", "tensors"):
        values = [getattr(step, done) for step in steps]
        assert values == sorted(values)
        assert values[-1] <= getattr(steps[-1], f"total_{done}")
    assert (steps[-1].read_bytes, steps[-1].tensors) == (steps[-1].total_read_bytes, steps[-1].total_tensors)


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
            raise PermissionError(errno.EACCES, "Permission denied")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(EdgeError, match=r"out: cannot be written \(Permission denied\); nothing was kept"):
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
    model = copy_bundle(small_bundle(), tmp_path / "out")
    folder = Path(shutil.copytree(small_checkpoint("phi3").path, model / "checkpoint"))
    with pytest.raises(ConfigError) as caught:
        export(folder, model, ExportOptions(adapters="none", force=True))
    assert str(caught.value) == f"{model}: the checkpoint is in there; choose another output folder"
    assert (folder / "config.json").is_file()


def test_an_unwritable_parent_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(staging.os, "access", lambda path, mode: False)
    with pytest.raises(ConfigError) as caught:
        export(small_checkpoint("phi3").path, tmp_path / "out")
    assert str(caught.value) == f"{tmp_path}: not writable; choose another output folder"


def test_a_folder_that_appears_during_an_export_is_never_lost(tmp_path: Path):
    out = tmp_path / "out"

    def appear(step: Progress) -> None:
        out.mkdir(exist_ok=True)
        (out / "thesis.txt").write_text("years of work")

    for force in (False, True):
        with (
            pytest.raises(ConfigError, match=r"out: (already exists|exists and is not)"),
            staged(out, MODEL_FOLDER, force=force),
        ):
            appear(Progress(stage="", total_tensors=0, total_read_bytes=0, total_written_bytes=0))
        assert [path.name for path in tmp_path.iterdir()] == ["out"]
        shutil.rmtree(out)
    with pytest.raises(ConfigError, match="out: already exists"):
        export(small_checkpoint("phi3").path, out, on_progress=appear)
    assert (out / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize("point", ["output moved", "folder moved", "old removed"])
def test_an_interrupted_swap_leaves_one_whole_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str):
    out = copy_bundle(small_bundle(), tmp_path / "out")
    rename, rmtree, interrupted = Path.rename, shutil.rmtree, []

    def interrupt(here: bool) -> None:
        if here and not interrupted:
            interrupted.append(True)
            raise KeyboardInterrupt

    def moved(self: Path, target: Path) -> Path:
        moved_to = rename(self, target)
        interrupt(self.name == "out" if point == "output moved" else point == "folder moved" and self.name != "out")
        return moved_to

    def removed(path: Path, ignore_errors: bool = False) -> None:
        interrupt(point == "old removed" and ".replaced-" in path.name)
        rmtree(path, ignore_errors=ignore_errors)

    monkeypatch.setattr(Path, "rename", moved)
    monkeypatch.setattr(staging.shutil, "rmtree", removed)
    with pytest.raises(KeyboardInterrupt), staged(out, MODEL_FOLDER, force=True) as folder:
        (folder / "new").write_text("")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (out / "new").exists() == (point != "output moved")
    if point == "output moved":
        Bundle(out, check_hashes=True)


@pytest.mark.parametrize(
    ("number", "kind", "message"),
    [
        (errno.EFBIG, CapacityError, "out: the disk filled up; nothing was kept"),
        (errno.EIO, EdgeError, r"out: cannot be written \(Input/output error\); nothing was kept"),
    ],
)
def test_what_the_system_refuses_is_one_line(tmp_path: Path, number: int, kind: type[Exception], message: str):
    with pytest.raises(kind, match=message), staged(tmp_path / "out", MODEL_FOLDER, force=False):
        raise OSError(number, os.strerror(number))
    assert not list(tmp_path.iterdir())


def test_a_name_that_is_too_long_is_one_line(tmp_path: Path):
    for output in (tmp_path / ("x" * 300), tmp_path / ("x" * 300) / "out"):
        with pytest.raises(EdgeError, match=r"too long|no such folder"):
            export(small_checkpoint("phi3").path, output)


def test_the_parent_folder_is_no_output(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"names no folder of its own; give the new folder's name"):
        export(small_checkpoint("phi3").path, tmp_path / "..", ExportOptions(force=True))


def test_leftovers_of_killed_exports_are_removed(tmp_path: Path):
    dead = subprocess.Popen(["true"])
    dead.wait()
    for name in (f".out.partial-{dead.pid}", f".out.partial-{os.getppid()}"):
        (tmp_path / name).mkdir()
    with staged(tmp_path / "out", MODEL_FOLDER, force=False):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == [f".out.partial-{os.getppid()}", "out"]


def test_a_missing_parent_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="nowhere: no such folder; make it first"):
        export(small_checkpoint().path, tmp_path / "nowhere" / "out")


def test_a_relative_output_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert export(small_checkpoint("phi3").path, "out") == Path("out")
    Bundle("out", check_hashes=True)


def test_a_checkpoint_that_breaks_half_way_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def unreadable(self: object, start: int, stop: int) -> None:
        raise ArtifactError("model.safetensors: tensor x cannot be read")

    monkeypatch.setattr("edgephi_export.checkpoint.safetensors_file.StoredTensor.read", unreadable)
    with pytest.raises(ArtifactError, match="tensor x"):
        export(small_checkpoint().path, tmp_path / "out")
    assert not list(tmp_path.iterdir())
