"""A file that is made takes its place whole; until then, and if it fails, what was there stays."""

from __future__ import annotations

import errno
import os
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgephi.base.atomic_write import FolderKind, check_space, staged, writing
from edgephi.base.errors import CapacityError, EdgeError
from edgephi.base.output_file import staged_file

KIND = FolderKind("a cupboard", ("door.txt",))


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path: Path):
    path = tmp_path / "talk.srt"
    path.write_bytes(b"old")
    with staged_file(path) as stream:
        stream.write(b"new")
        stream.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["talk.srt"]


def _fail_half_way(path: Path, error: BaseException) -> None:
    with staged_file(path) as stream:
        stream.write(b"half of the n")
        raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.EIO, "Input/output error"), RuntimeError("bug")])
def test_a_writer_that_fails_leaves_the_old_file_alone(tmp_path: Path, error: BaseException):
    path = tmp_path / "talk.srt"
    path.write_bytes(b"old")
    with pytest.raises(type(error)):
        _fail_half_way(path, error)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["talk.srt"]


def test_a_file_is_as_open_to_others_as_any_the_user_makes(tmp_path: Path):
    mask = os.umask(0o027)
    try:
        with staged_file(tmp_path / "shared.json") as stream:
            stream.write(b"{}")
    finally:
        os.umask(mask)
    assert (tmp_path / "shared.json").stat().st_mode & 0o777 == 0o640


def test_a_name_as_long_as_the_system_allows_is_written(tmp_path: Path):
    path = tmp_path / ("ü" * 125 + ".txt")
    with staged_file(path) as stream:
        stream.write(b"x")
    assert path.read_bytes() == b"x"


def test_what_the_system_refuses_is_said_about_the_file(tmp_path: Path):
    path = tmp_path / "none" / "m.gguf"
    no_folder = pytest.raises(EdgeError, match=r"m\.gguf: cannot be written \(No such file or directory\)")
    with no_folder, writing(path), staged_file(path):
        pass
    with pytest.raises(CapacityError, match=r"m\.gguf: the disk filled up; nothing was kept"), writing(path):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_folder_of_another_kind_is_never_replaced(tmp_path: Path):
    out = tmp_path / "out"
    with staged(out, KIND, force=False) as folder:
        (folder / "door.txt").write_text("closed")
    with staged(out, KIND, force=True) as folder:
        (folder / "window.txt").write_text("open")
    refused = pytest.raises(EdgeError, match="out: exists and is not a cupboard; --force replaces only those")
    with refused, staged(out, KIND, force=True):
        pass
    assert os.listdir(out) == ["window.txt"]
    assert os.listdir(tmp_path) == ["out"]


def test_too_little_space_says_who_needs_it_and_what_helps(tmp_path: Path):
    with pytest.raises(
        CapacityError, match=r"the moon needs [\d,.]+ [kMG]?B, the disk has [\d,.]+ [kMG]?B free; .* or fly there"
    ):
        check_space(tmp_path / "out", 1 << 60, what="the moon", relief="fly there")


@pytest.mark.parametrize(("free", "fits"), [(1000, True), (999, False)])
def test_what_just_fits_the_disk_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, fits: bool):
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=free))
    with nullcontext() if fits else pytest.raises(CapacityError, match=r"the copy needs 1.00 kB, the disk has 999 B"):
        check_space(tmp_path / "a", 1000, what="the copy")
