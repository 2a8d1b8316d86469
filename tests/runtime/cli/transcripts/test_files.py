"""`edgephi transcribe -o`: a slip costs no recording, a full disk no text, and nothing is found too late."""

from __future__ import annotations

import errno
import json
import os
import stat
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import soundfile

from edgephi.console.options import ModelSource
from support.scripted import install
from support.shell import invoke
from support.speech_model import turns

TWO = turns(0.5, 0.7, 0.8, 0.7, 0.3)


@pytest.fixture(autouse=True)
def _fake(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)


def _recordings(folder: Path, *names: str) -> list[Path]:
    for name in names:
        soundfile.write(folder / name, TWO, 16_000)
    return [folder / name for name in names]


def _refused(*arguments: object) -> str:
    """The line of a command that is refused before the model is loaded; `no-such-model` would be exit code 3."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ModelSource, "load", lambda *_, **__: pytest.fail("the model was loaded"))
        done = invoke("transcribe", "model", *arguments)
    assert (done.exit_code, done.stdout) == (2, ""), done.output
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


@pytest.mark.parametrize("names", [("a.wav", "b.wav"), ("a.wav", "b.wav", "c.wav"), ("x.flac", "y.flac")])
def test_dash_o_before_a_pattern_of_the_shell_overwrites_no_recording(tmp_path: Path, names: Sequence[str]):
    """`transcribe M -o *.wav` takes the first recording for the output."""
    first, *others = _recordings(tmp_path, *names)
    before = first.read_bytes()
    _refused("-o", first, *others)
    assert first.read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == sorted(names)


@pytest.mark.parametrize("alias", ["link", "hard", "other"])
def test_an_alias_of_a_recording_is_refused(tmp_path: Path, alias: str):
    (recording,) = _recordings(tmp_path, "a.wav")
    (tmp_path / "link.txt").symlink_to(recording)
    os.link(recording, tmp_path / "hard.txt")
    (tmp_path / "d").mkdir()
    (tmp_path / "other.txt").symlink_to("d/../a.wav")
    assert "is a recording to be transcribed" in _refused(recording, "-o", tmp_path / f"{alias}.txt")
    assert soundfile.info(recording).frames == len(TWO)


@pytest.mark.parametrize("name", ["a.ttml", "a.wav", "a.SRTX", "a.pdf", "a.mp4", "a.sbv"])
def test_an_extension_of_another_format_is_refused(tmp_path: Path, name: str):
    (recording,) = _recordings(tmp_path, "s.wav")
    assert "is none of txt, srt, vtt, json" in _refused(recording, "-o", tmp_path / name)
    assert "is none of txt, srt, vtt, json" in _refused(recording, "-o", tmp_path / name, "--format", "srt")
    assert os.listdir(tmp_path) == ["s.wav"]


def test_a_format_that_contradicts_the_name_is_refused(tmp_path: Path):
    (recording,) = _recordings(tmp_path, "s.wav")
    assert "contradict each other" in _refused(recording, "-o", tmp_path / "a.srt", "--format", "vtt")


@pytest.mark.parametrize("name", ["out.srt", "all.TXT", "x.json"])
def test_several_recordings_make_no_folder_with_the_name_of_a_file(tmp_path: Path, name: str):
    files = _recordings(tmp_path, "a.wav", "b.wav")
    assert "there are 2 recordings; give the name of a folder" in _refused(*files, "-o", tmp_path / name)
    (tmp_path / name).write_text("old")
    assert "there are 2 recordings; give the name of a folder" in _refused(*files, "-o", tmp_path / name)
    assert (tmp_path / name).read_text() == "old"


@pytest.mark.parametrize("name", ["transcripts", "2024.01.05", "v1.2", "Mr. Smith", "deep/er/folder", "srt/"])
def test_a_name_without_an_extension_is_a_folder_for_one_recording_too(tmp_path: Path, name: str):
    (recording,) = _recordings(tmp_path, "a.wav")
    done = invoke("transcribe", "model", recording, "-o", f"{tmp_path}/{name}", "--format", "srt")
    assert done.exit_code == 0, done.stderr
    assert (tmp_path / name / "a.srt").read_text().count("-->") == 2


def test_an_existing_file_without_an_extension_is_replaced(tmp_path: Path):
    (recording,) = _recordings(tmp_path, "a.wav")
    (tmp_path / "notes").write_text("old")
    assert invoke("transcribe", "model", recording, "-o", tmp_path / "notes").exit_code == 0
    assert (tmp_path / "notes").read_text() == "0\n1\n"


def test_a_folder_that_is_never_written_to_is_never_made(tmp_path: Path):
    (recording,) = _recordings(tmp_path, "a.wav")
    recording.write_bytes(b"no sound")
    invoke("transcribe", "model", recording, "-o", tmp_path / "texts")
    assert os.listdir(tmp_path) == ["a.wav"]


def test_a_name_too_long_for_the_disk_is_found_before_the_work(tmp_path: Path):
    (recording,) = _recordings(tmp_path, "n" * 251 + ".wav")
    (tmp_path / "texts").mkdir()
    for folder in ("texts", "new"):
        assert "File name too long" in _refused(recording, "-o", tmp_path / folder, "--format", "json")
    done = invoke("transcribe", "model", recording, "-o", tmp_path / "texts", "--format", "txt")
    assert done.exit_code == 0, done.stderr  # 255 letters are what the system allows


@pytest.mark.parametrize("names", [("x/a.wav", "y/a.wav"), ("x/a.wav", "y/a.flac")])
def test_two_recordings_of_one_name_are_reported_before_the_work(tmp_path: Path, names: Sequence[str]):
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
    files = _recordings(tmp_path, *names)
    assert "would both be written to" in _refused(*files, "-o", tmp_path / "texts")


def test_two_names_that_lead_to_one_file_are_reported_before_the_work(tmp_path: Path):
    files = _recordings(tmp_path, "a.wav", "b.wav")
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "b.txt").symlink_to("a.txt")
    assert "would both be written to" in _refused(*files, "-o", tmp_path / "texts")


@pytest.mark.parametrize("refused", ["a.srt/", "file/b.srt", "gone/b.srt", ""])
def test_what_cannot_be_written_is_found_before_the_work(tmp_path: Path, refused: str):
    (recording,) = _recordings(tmp_path, "a.wav")
    (tmp_path / "file").write_text("x")
    (tmp_path / "a.srt").write_text("x")
    _refused(recording, "-o", f"{tmp_path}/{refused}" if refused else "")


def test_a_pipe_gets_the_transcript_and_a_dash_is_stdout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (recording,) = _recordings(tmp_path, "a.wav")
    pipe, got = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(pipe.read_text()))
    reader.start()
    assert invoke("transcribe", "model", recording, "-o", pipe).exit_code == 0
    install(monkeypatch)
    reader.join(60)
    assert got == ["0\n1\n"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert invoke("transcribe", "model", recording, "-o", "-", "--format", "srt").stdout.count("-->") == 2


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, str], None]:
    """Makes the operating system refuse to put a file of that name into its place."""
    replace = os.replace

    def refuse(number: int, name: str) -> None:
        def put(source: str, target: Path) -> None:
            if Path(target).name == name:
                raise OSError(number, os.strerror(number))
            replace(source, target)

        monkeypatch.setattr("edgephi.base.output_file.os.replace", put)

    return refuse


@pytest.mark.parametrize(("number", "code"), [(errno.ENOSPC, 4), (errno.EDQUOT, 4), (errno.EIO, 1), (errno.EROFS, 1)])
def test_text_that_cannot_be_written_goes_to_stdout_and_the_others_are_done(tmp_path: Path, disk, number, code):
    files = _recordings(tmp_path, "a.wav", "b.wav", "c.wav")
    disk(number, "b.json")
    done = invoke("transcribe", "model", *files, "-o", tmp_path / "texts", "--format", "json")
    assert done.exit_code == code
    assert json.loads(done.stdout)["file"] == str(files[1])
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "b.json" in errors[0]
    assert "what it should hold is on stdout" in errors[0]
    assert {path.name for path in (tmp_path / "texts").iterdir()} >= {"a.json", "c.json"}
    assert not (tmp_path / "texts" / "b.json").exists()


def test_a_private_transcript_stays_private(tmp_path: Path):
    (recording,) = _recordings(tmp_path, "a.wav")
    target = tmp_path / "a.srt"
    target.write_text("old")
    target.chmod(0o600)
    assert invoke("transcribe", "model", recording, "-o", target).exit_code == 0
    assert target.stat().st_mode & 0o777 == 0o600
