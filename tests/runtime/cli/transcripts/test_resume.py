"""`edgephi transcribe --resume`: a power cut after two hours costs seconds, and what is gone on with is the same."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import Result

from support.bundles import small_bundle
from support.scripted import CommandModel, install
from support.shell import invoke
from support.speech_model import turns

_SENTENCE = Path(__file__).parents[4] / "nano" / "samples" / "sentence.wav"
_WINDOWS = 5


def _number_of(samples: np.ndarray) -> list[int]:
    """The answer of these tests' model: another number for every window."""
    return [int(np.abs(samples).sum() * 1000) % 9973, len(samples)]


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    """Five turns, all of other lengths."""
    soundfile.write(tmp_path / "talk.wav", turns(*(0.8 + 0.1 * i for i in range(2 * _WINDOWS))), 16_000)
    return tmp_path / "talk.wav"


def _run(*arguments: object, ends_at: int | None = None) -> tuple[Result, CommandModel]:
    """The command; before the model gets window `ends_at`, Ctrl-C is pressed."""

    def script(number: int, samples: np.ndarray) -> Sequence[int]:
        if number == ends_at:
            raise KeyboardInterrupt
        return _number_of(samples)

    with pytest.MonkeyPatch.context() as patch:
        model = install(patch, script)
        return invoke("transcribe", "model", *arguments), model


def _lasting(content: str) -> str:
    """A transcript without the times that the work took."""
    return re.sub(r'"(elapsed_s|real_time_factor)": [\d.]+', "", content)


def _reference(talk: Path, kind: str) -> str:
    done, _ = _run(talk, "-o", talk.parent / f"whole.{kind}")
    assert done.exit_code == 0, done.stderr
    return _lasting((talk.parent / f"whole.{kind}").read_text())


@pytest.mark.parametrize("kind", ["txt", "srt", "vtt", "json"])
@pytest.mark.parametrize("ends_at", [1, 3, _WINDOWS - 1])
def test_what_is_gone_on_with_is_what_an_undisturbed_run_writes(talk: Path, kind: str, ends_at: int):
    whole, target = _reference(talk, kind), talk.parent / f"a.{kind}"
    done, _ = _run(talk, "-o", target, ends_at=ends_at)
    assert done.exit_code == 130
    assert "--resume goes on from there" in done.stderr
    done, model = _run(talk, "-o", target, "--resume")
    assert done.exit_code == 0, done.stderr
    assert len(model.windows) == _WINDOWS - ends_at
    assert _lasting(target.read_text()) == whole
    assert not target.with_name(f"a.{kind}.partial").exists()


def test_channels_that_are_transcribed_on_their_own_are_resumed(talk: Path):
    left, right = turns(0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 0.5), turns(1.5, 0.7, 1.1, 0.8, 1.9, 0.7, 0.1)
    soundfile.write(talk, np.stack([left, right], axis=1), 16_000)
    target = talk.parent / "a.vtt"
    done, _ = _run(talk, "-o", talk.parent / "whole.vtt", "--channel", "all")
    assert done.exit_code == 0, done.stderr
    _run(talk, "-o", target, "--channel", "all", ends_at=3)
    done, _ = _run(talk, "-o", target, "--resume")
    assert "made with another prompt or other options" in done.stderr
    done, model = _run(talk, "-o", target, "--channel", "all", "--resume")
    assert (done.exit_code, len(model.windows)) == (0, 3), done.stderr
    assert target.read_text() == (talk.parent / "whole.vtt").read_text()


def test_a_rerun_says_how_to_go_on_and_loses_nothing(talk: Path):
    target = talk.parent / "a.srt"
    _run(talk, "-o", target, ends_at=2)
    partial = target.with_name("a.srt.partial").read_bytes()
    done, model = _run(talk, "-o", target)
    assert (done.exit_code, done.stdout, model.windows) == (2, "", [])
    (line,) = done.stderr.splitlines()
    assert "a.srt.partial: an interrupted run left this; it reaches 0:0" in line
    assert "--resume goes on from it, or delete it to begin anew" in line
    assert target.with_name("a.srt.partial").read_bytes() == partial


def test_whatever_a_power_cut_leaves_of_the_last_line_is_written_again(talk: Path):
    whole, target = _reference(talk, "json"), talk.parent / "a.json"
    _run(talk, "-o", target, ends_at=_WINDOWS - 1)
    path = target.with_name("a.json.partial")
    data, draw = path.read_bytes(), random.Random(3)
    for _ in range(12):
        tail = draw.choice((b"", bytes(draw.randrange(200)), b'{"elapsed_s": 1.0, "segm', b"\xff\xfe\n"))
        path.write_bytes(data[: draw.randrange(len(data))] + tail)
        done, _ = _run(talk, "-o", target, "--resume")
        if done.exit_code == 2:  # what is left does not begin as ours
            assert "no partial transcript" in done.stderr
            path.unlink()
            continue
        assert done.exit_code == 0, done.stderr
        assert _lasting(target.read_text()) == whole


def test_half_a_line_is_gone_before_the_next_is_written(talk: Path):
    """Glued to it, a window would count as lost once the next run is interrupted too."""
    whole, target = _reference(talk, "json"), talk.parent / "a.json"
    _run(talk, "-o", target, ends_at=3)
    path = target.with_name("a.json.partial")
    path.write_bytes(path.read_bytes()[:-9])
    _run(talk, "-o", target, "--resume", ends_at=2)
    done, model = _run(talk, "-o", target, "--resume")
    assert (done.exit_code, len(model.windows)) == (0, 1), done.stderr
    assert _lasting(target.read_text()) == whole


@pytest.mark.parametrize("other", ["recording", "option", "translation"])
def test_another_recording_or_request_is_not_gone_on_with(talk: Path, other: str):
    target = talk.parent / "a.txt"
    _run(talk, "-o", target, ends_at=2)
    before = target.with_name("a.txt.partial").read_bytes()
    arguments: dict[str, list[str]] = {"option": ["--pause-s", "0.5"], "translation": ["--translate-to", "de"]}
    if other == "recording":
        samples, hertz = soundfile.read(talk)
        samples[-1] += 0.01
        soundfile.write(talk, samples, hertz)
    done, model = _run(talk, "-o", target, "--resume", *arguments.get(other, []))
    assert (done.exit_code, model.windows) == (2, [])
    words = "recording" if other == "recording" else "prompt or other options"
    assert f"a.txt.partial: made with another {words}; give the same again, or delete it" in done.stderr
    assert target.with_name("a.txt.partial").read_bytes() == before


def test_another_model_is_not_gone_on_with(talk: Path, monkeypatch: pytest.MonkeyPatch):
    _run(talk, "-o", talk.parent / "a.txt", ends_at=2)
    monkeypatch.setattr("edgephi.cli.transcribe.model_id", lambda *_: "another")
    done, _ = _run(talk, "-o", talk.parent / "a.txt", "--resume")
    assert done.exit_code == 2
    assert "made with another model" in done.stderr


@pytest.mark.parametrize("content", [b"my own notes", b"{}\n", b"\0" * 500])
def test_a_file_of_somebody_elses_is_left_alone(talk: Path, content: bytes):
    path = talk.parent / "a.txt.partial"
    path.write_bytes(content)
    for arguments in ([], ["--resume"]):
        done, _ = _run(talk, "-o", talk.parent / "a.txt", *arguments)
        assert done.exit_code == 2
        assert "is no partial transcript" in done.stderr
    assert path.read_bytes() == content


def test_two_runs_do_not_write_one_file(talk: Path):
    _run(talk, "-o", talk.parent / "a.txt", ends_at=2)
    with (talk.parent / "a.txt.partial").open("r+b") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        done, _ = _run(talk, "-o", talk.parent / "a.txt", "--resume")
    assert done.exit_code == 2
    assert "another process is writing it" in done.stderr


def test_of_several_recordings_those_that_are_done_are_passed_over(talk: Path):
    files = [talk, talk.with_name("b.wav"), talk.with_name("c.wav")]
    for index, file in enumerate(files[1:], 1):
        soundfile.write(file, turns(*(0.9 + 0.1 * i * index for i in range(4))), 16_000)
    done, whole = _run(*files, "-o", talk.parent / "whole")
    done, _ = _run(*files, "-o", talk.parent / "texts", ends_at=_WINDOWS + 1)
    assert done.exit_code == 130
    done, model = _run(*files, "-o", talk.parent / "texts", "--resume")
    assert done.exit_code == 0, done.stderr
    assert "talk.txt is there and complete, so" in done.stderr
    assert len(model.windows) == len(whole.windows) - _WINDOWS - 1
    for path in (talk.parent / "whole").iterdir():
        assert (talk.parent / "texts" / path.name).read_text() == path.read_text()


def test_a_recording_that_is_newer_than_its_transcript_is_done_again(talk: Path):
    target = talk.parent / "a.txt"
    _run(talk, "-o", target)
    later = time.time() + 100
    os.utime(talk, (later, later))
    _, model = _run(talk, "-o", target, "--resume")
    assert len(model.windows) == _WINDOWS


def test_a_disk_that_fills_up_meanwhile_costs_the_partial_file_only(talk: Path, monkeypatch: pytest.MonkeyPatch):
    write, count = os.write, []

    def full(descriptor: int, data: bytes) -> int:
        count.append(descriptor)
        if len(count) > 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data)

    whole = _reference(talk, "txt")
    monkeypatch.setattr("edgephi.cli.transcripts.partial_file.os.write", full)
    done, _ = _run(talk, "-o", talk.parent / "a.txt")
    assert done.exit_code == 0
    assert done.stderr.count("cannot be written any more (No space left on device)") == 1
    assert (talk.parent / "a.txt").read_text() == whole


def test_a_private_transcript_has_a_private_partial_file(talk: Path):
    target = talk.parent / "a.txt"
    target.write_text("old")
    target.chmod(0o600)
    _run(talk, "-o", target, ends_at=2)
    assert target.with_name("a.txt.partial").stat().st_mode & 0o777 == 0o600


def test_a_file_in_a_folder_that_takes_no_others_is_written_all_the_same(talk: Path, monkeypatch: pytest.MonkeyPatch):
    """A file of one's own in somebody else's folder: there is no place for a partial file beside it."""
    folder, access, create = talk.parent / "theirs", os.access, os.open
    folder.mkdir()
    (folder / "a.txt").write_text("old")
    whole = _reference(talk, "txt")

    def may(path: Path, how: int) -> bool:
        return Path(path) != folder and access(path, how)

    def made(path: Path, flags: int, *others: int) -> int:
        if flags & os.O_CREAT and Path(path).parent == folder and not Path(path).exists():
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return create(path, flags, *others)

    monkeypatch.setattr("edgephi.base.output_file.os.access", may)
    monkeypatch.setattr("edgephi.cli.transcripts.partial_file.os.open", made)
    for arguments in ([], ["--resume"]):
        (folder / "a.txt").write_text("old")
        os.utime(folder / "a.txt", (1, 1))
        done, _ = _run(talk, "-o", folder / "a.txt", *arguments)
        assert done.exit_code == 0, done.stderr
        assert done.stderr.count("no file can be made in it, so nothing is kept for --resume") == 1
        assert (folder / "a.txt").read_text() == whole


def test_a_partial_file_that_could_not_be_begun_does_not_stay(talk: Path, monkeypatch: pytest.MonkeyPatch):
    """A quota or a limit of file sizes is met by the first byte."""

    def full(*_: object) -> int:
        raise OSError(errno.EFBIG, "File too large")

    monkeypatch.setattr("edgephi.cli.transcripts.partial_file.os.write", full)
    done, _ = _run(talk, "-o", talk.parent / "a.txt")
    assert done.exit_code == 2
    assert "a.txt.partial: cannot be written (File too large)" in done.stderr
    assert [path.name for path in talk.parent.iterdir()] == ["talk.wav"]


def test_without_an_output_there_is_nothing_to_go_on_with(talk: Path):
    done, _ = _run(talk, "--resume")
    assert done.exit_code == 2
    assert "--resume goes on with a file; give the --output" in done.stderr


def test_a_recording_damaged_further_on_goes_on_only_when_it_is_the_same(talk: Path):
    samples = np.concatenate([turns(1.0, 1.0, 1.0, 1.0, 1.0), np.zeros(1 << 20, np.float32)])
    samples[-1] = np.nan
    soundfile.write(talk, samples, 16_000, subtype="FLOAT")
    done, _ = _run(talk, "-o", talk.parent / "a.txt")
    assert done.exit_code == 2
    done, _ = _run(talk, "-o", talk.parent / "a.txt", "--resume")
    assert done.exit_code == 2
    assert "is nan" in done.stderr


def _await_growth(path: Path, num_bytes: int, process: subprocess.Popen[bytes]) -> None:
    """Returns when the file has so many bytes more, or the process has ended."""
    before = path.stat().st_size if path.exists() else 0
    while process.poll() is None:
        with suppress(FileNotFoundError):
            if path.stat().st_size >= before + num_bytes:
                return
        time.sleep(0.002)


@pytest.mark.parametrize("kind", ["srt", "json"])
def test_killed_at_random_places_it_ends_as_if_undisturbed(tmp_path: Path, kind: str):
    """With the real model and detector, and SIGKILL, which no handler sees."""
    samples, hertz = soundfile.read(_SENTENCE)
    rest = np.zeros(hertz)
    soundfile.write(tmp_path / "talk.wav", np.concatenate([samples, rest, samples[::2], rest, samples, rest]), hertz)
    options = [tmp_path / "talk.wav", "--window-s", "2", "--threads", "1"]
    command = [sys.executable, "-m", "edgephi", "transcribe", str(small_bundle()), *map(str, options)]
    subprocess.run([*command, "-o", str(tmp_path / f"whole.{kind}")], check=True, capture_output=True, timeout=120)
    draw, target, kills = random.Random(kind), tmp_path / f"a.{kind}", 0
    for _ in range(20):
        process = subprocess.Popen([*command, "-o", str(target), "--resume"], stderr=subprocess.PIPE)
        if kills < 2:  # at a place of the work, not of a clock: other processes slow the work down
            _await_growth(target.with_name(f"a.{kind}.partial"), draw.randrange(1, 600), process)
            process.kill()
        stderr = process.communicate(timeout=120)[1]
        assert process.returncode in (0, -9), stderr
        if kills == 2:
            break
        kills += process.returncode == -9
        target.unlink(missing_ok=True)  # it was faster
    assert process.returncode == 0
    assert _lasting(target.read_text()).replace("whole", "a") == _lasting((tmp_path / f"whole.{kind}").read_text())
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([f"a.{kind}", "talk.wav", f"whole.{kind}"])
    if kind == "json":
        assert json.loads(target.read_text())["complete"] is True
