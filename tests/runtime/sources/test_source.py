"""Where images and recordings come from: a path that cannot be read is refused alike for both."""

from __future__ import annotations

import os

import pytest

from edgephi.audio.decoding import load_audio
from edgephi.base.errors import ConfigError
from edgephi.images.crops import load_image
from edgephi.sources.source import media_name, silence_library_output
from support.media_files import assert_refused

KINDS = pytest.mark.parametrize(("load", "kind"), [(load_audio, "audio"), (load_image, "image")])


@KINDS
def test_paths_that_lead_nowhere(tmp_path, load, kind):
    """A mistyped path must read as one."""
    with pytest.raises(ConfigError, match=rf"sign\.x: no such file; check the path of the {kind}"):
        load(tmp_path / "sign.x")
    with pytest.raises(ConfigError, match=rf"a directory; give one {kind} file"):
        load(tmp_path)
    for path in ("a\0b.wav", "x" * 5000, f"{tmp_path}/file/in/file"):
        (tmp_path / "file").touch()
        with pytest.raises(ConfigError, match=r"cannot be opened"):
            load(path)
    with pytest.raises(ConfigError, match=rf"the path of the {kind} is empty"):
        load("")


@KINDS
def test_pipes_and_devices_are_refused_at_once(tmp_path, load, kind):
    """Opening a pipe waits for a writer that may never come; /dev/zero never ends."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(ConfigError, match=rf"a pipe or device; save the {kind} to a file first"):
            load(path)


@KINDS
def test_empty_files_and_bytes(tmp_path, load, kind):
    """A download that never began."""
    assert_refused(load, tmp_path / "empty.x", b"", rf"empty file; record or copy the {kind} again")
    with pytest.raises(ConfigError, match=rf"^{kind} of 0 bytes: empty; give the content of a whole file"):
        load(b"")


def test_standard_error_is_given_back_after_an_error(capfd):
    """Whatever a decoder raises, later messages must reach the user."""

    def decode() -> None:
        with silence_library_output():
            os.write(2, b"chatter")
            raise ValueError("damage")

    with pytest.raises(ValueError, match="damage"):
        decode()
    os.write(2, b"heard")
    assert capfd.readouterr().err == "heard"


def test_a_path_as_long_as_a_system_allows_is_named_whole():
    assert media_name("x" * 1024, "audio") == "x" * 1024
    assert media_name("a" * 60 + "x" * 1000 + "b" * 40, "audio") == "a" * 60 + "..." + "b" * 40
