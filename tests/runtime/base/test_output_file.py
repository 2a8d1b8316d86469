"""An output that the user names: no device, link, mode or recording of his may be destroyed by writing it."""

from __future__ import annotations

import errno
import io
import os
import random
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from edgephi.audio.containers.detection import _WALKERS
from edgephi.base.errors import CapacityError, ConfigError
from edgephi.base.file_kind import HEAD_BYTES, media_kind
from edgephi.base.output_file import check_output_file, check_text_output, remove_unfinished, staged_file


def _write(path: Path, content: bytes = b"new") -> None:
    check_output_file(path)
    with staged_file(path) as stream:
        stream.write(content)


def _device(path: Path) -> Path:
    """A null device of our own: a mistake must not cost the machine's."""
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))
        path.open("wb").close()
    except OSError:
        pytest.skip("needs root and a file system with devices")
    return path


def test_a_device_is_still_one_afterwards(tmp_path: Path):
    device = _device(tmp_path / "null")
    link = tmp_path / "link.txt"
    link.symlink_to(device)
    for path in (device, link):
        _write(path)
        assert stat.S_ISCHR(device.stat().st_mode)
    assert sorted(os.listdir(tmp_path)) == ["link.txt", "null"]


def test_a_named_pipe_gets_the_content_and_stays(tmp_path: Path):
    pipe, got = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    check_output_file(pipe)  # must not open it: nobody reads yet
    reader.start()
    _write(pipe)
    reader.join(60)
    assert got == [b"new"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def _own(name: str, mode: str, path: Path) -> bytes:
    """What a file holds after a program wrote to its own stdout by a name for it, between two lines of its own."""
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom edgephi.base.output_file import staged_file\n"
        "os.write(1, b'before\\n')\n"
        f"with staged_file(Path({name!r})) as stream: stream.write(b'new\\n')\n"
        "os.write(1, b'after\\n')\n"
    )
    with path.open(mode) as stdout:
        subprocess.run([sys.executable, "-c", code], stdout=stdout, check=True)
    return path.read_bytes()


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link"])
@pytest.mark.parametrize("mode", ["wb", "ab"])
def test_stdout_by_name_goes_on_where_it_is(tmp_path: Path, name: str, mode: str):
    """Opening it anew would write over what came before, and replacing it would lose what comes after."""
    if name == "link":
        (tmp_path / "link").symlink_to("/dev/stdout")
        name = str(tmp_path / "link")
    path = tmp_path / "log.txt"
    path.write_bytes(b"old\n")
    begin = b"old\n" if mode == "ab" else b""
    assert _own(name, mode, path) == begin + b"before\nnew\nafter\n"


def test_a_link_stays_and_its_target_is_replaced(tmp_path: Path):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "real.txt").write_bytes(b"old")
    (tmp_path / "middle").symlink_to("elsewhere/real.txt")
    (tmp_path / "link.txt").symlink_to("middle")
    (tmp_path / "dangling.txt").symlink_to("elsewhere/new.txt")
    _write(tmp_path / "link.txt")
    _write(tmp_path / "dangling.txt")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "dangling.txt").is_symlink()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"real.txt": b"new", "new.txt": b"new"}


def test_a_circle_of_links_is_refused_in_words(tmp_path: Path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(ConfigError, match="a: cannot be written \\(Too many levels of symbolic links\\)"):
        check_output_file(tmp_path / "a")


def test_a_hard_linked_backup_keeps_the_old_content(tmp_path: Path):
    (tmp_path / "a.txt").write_bytes(b"old")
    os.link(tmp_path / "a.txt", tmp_path / "backup")
    _write(tmp_path / "a.txt")
    assert ((tmp_path / "a.txt").read_bytes(), (tmp_path / "backup").read_bytes()) == (b"new", b"old")


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o755])
def test_a_private_file_stays_private_and_its_owner_its_owner(tmp_path: Path, mode: int):
    path = tmp_path / "a.txt"
    path.write_bytes(b"old")
    path.chmod(mode)
    if os.geteuid() == 0:
        os.chown(path, 12345, 23456)
    before = path.stat()
    _write(path)
    after = path.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert path.read_bytes() == b"new"


def test_a_file_that_cannot_be_renamed_over_is_written_in_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As a single file that is mounted into a container."""
    path = tmp_path / "a.txt"
    path.write_bytes(b"something longer than the new content")

    def busy(*_: object) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy")

    monkeypatch.setattr("edgephi.base.output_file.os.replace", busy)
    _write(path)
    assert (path.read_bytes(), os.listdir(tmp_path)) == (b"new", ["a.txt"])


def test_a_writable_file_in_a_closed_folder_is_written_in_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path, access = tmp_path / "a.txt", os.access
    path.write_bytes(b"something longer than the new content")
    monkeypatch.setattr(
        "edgephi.base.output_file.os.access", lambda place, how: place != tmp_path and access(place, how)
    )
    _write(path)
    assert path.read_bytes() == b"new"
    with pytest.raises(RuntimeError), staged_file(path) as stream:  # noqa: PT012 - the error comes in the block
        stream.write(b"half of")
        raise RuntimeError
    assert path.read_bytes() == b"new"


def _socket(path: Path) -> Path:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
    return path


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("folder", "is a folder"),
        ("socket", "is a socket"),
        ("gone/a.txt", "its folder does not exist"),
        ("file/a.txt", "Not a directory"),
        ("a\0b", "embedded null"),
        ("ü" * 200, "File name too long"),
    ],
)
def test_what_cannot_be_an_output_is_refused_before_the_work(tmp_path: Path, name: str, words: str):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"")
    _socket(tmp_path / "socket")
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(ConfigError, match=words) as caught:
        check_output_file(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert sorted(os.listdir(tmp_path)) == before


@contextmanager
def _as_nobody() -> Iterator[Path]:
    """An open folder of a user who is not root, and this process as that user."""
    folder = Path(tempfile.mkdtemp())
    is_root = os.geteuid() == 0
    if is_root:
        os.chown(folder, 65534, 65534)
        os.setresuid(65534, 65534, 0)
    try:
        yield folder
    finally:
        if is_root:
            os.setresuid(0, 0, 0)
        folder.chmod(0o700)
        shutil.rmtree(folder)


def test_a_read_only_file_or_folder_is_refused():
    with _as_nobody() as folder:
        path = folder / "a.txt"
        path.write_bytes(b"old")
        path.chmod(0o400)
        with pytest.raises(ConfigError, match="is read-only"):
            check_output_file(path)
        path.chmod(0o600)
        folder.chmod(0o500)
        with pytest.raises(ConfigError, match="Permission denied"):
            check_output_file(folder / "b.txt")
        _write(path)
        assert path.read_bytes() == b"new"


def test_a_read_only_file_system_is_found_before_the_work():
    if os.geteuid() == 0 and not os.statvfs("/proc").f_flag & os.ST_RDONLY:
        with pytest.raises(ConfigError, match="cannot be written"):
            check_output_file(Path("/proc/a.txt"))


def test_a_full_disk_is_found_before_the_work(tmp_path: Path):
    with pytest.raises(CapacityError, match="the output needs"):
        check_output_file(tmp_path / "a.txt", needed_bytes=1 << 60)


def test_what_an_interruption_left_is_removed_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", interrupt)
        with pytest.raises(KeyboardInterrupt), staged_file(tmp_path / "a.txt") as stream:  # noqa: PT012
            stream.write(b"half")
            raise KeyboardInterrupt
    assert len(os.listdir(tmp_path)) == 1
    remove_unfinished()
    assert os.listdir(tmp_path) == []


def test_the_file_of_a_check_that_was_interrupted_is_removed_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", interrupt)
        with pytest.raises(KeyboardInterrupt):
            check_output_file(tmp_path / "a.txt")
    assert len(os.listdir(tmp_path)) == 1
    remove_unfinished()
    assert os.listdir(tmp_path) == []


def _recording(kind: str) -> bytes:
    target = io.BytesIO()
    soundfile.write(target, np.sin(np.arange(16_000) / 20) / 2, 16_000, format=kind)
    return target.getvalue()


def _image(kind: str) -> bytes:
    target = io.BytesIO()
    Image.new("RGB", (40, 30), (200, 10, 10)).save(target, kind)
    return target.getvalue()


RECORDINGS = {kind: _recording(kind) for kind in ("WAV", "FLAC", "OGG", "MP3", "AIFF", "AU", "CAF", "RF64", "W64")}
IMAGES = {kind: _image(kind) for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP")}
RECORDINGS["BW64"] = b"BW64\xff\xff\xff\xffWAVEds64" + bytes(60)
FILMS = {
    "mp4": b"\0\0\0\x20ftypisom" + bytes(60),
    "m4a": b"\0\0\0\x20ftypM4A " + bytes(60),
    "webm": b"\x1aE\xdf\xa3" + bytes(60),
    "avi": b"RIFF\x10\0\0\0AVI " + bytes(60),
}
MEDIA = {**RECORDINGS, **IMAGES, **FILMS}


@pytest.mark.parametrize("kind", MEDIA)
def test_media_is_never_replaced_by_text(tmp_path: Path, kind: str):
    path = tmp_path / "talk.txt"
    path.write_bytes(MEDIA[kind])
    assert media_kind(MEDIA[kind][:HEAD_BYTES]) is not None
    link = tmp_path / "link.txt"
    link.symlink_to(path)
    for name in (path, link):
        with pytest.raises(ConfigError, match="is not replaced"):
            check_text_output(name)


def test_whatever_can_be_decoded_is_known_by_its_beginning():
    """Otherwise a transcript could replace the recording it was made from."""
    beginnings = [beginning.ljust(HEAD_BYTES, b"\0") for beginning in _WALKERS]
    assert [head[:4] for head in beginnings if media_kind(head) is None] == []


def test_text_of_any_language_is_no_media():
    texts = [
        "WEBVTT\n\n",
        "1\n00:00:00,000 --> ",
        '{"file": 1}',
        "ÿþ hello",
        "Привет, мир",
        "你好世界" * 9,
        "BMW is a car",
    ]
    for text in texts:
        assert media_kind(text.encode()[:HEAD_BYTES]) is None, text
    draw, letters = random.Random(7), "".join(map(chr, (32, 10, *range(48, 123), *range(0xC0, 0x500))))
    for _ in range(3000):
        text = "".join(draw.choices(letters, k=64))
        assert media_kind(text.encode()[:HEAD_BYTES]) is None, text
