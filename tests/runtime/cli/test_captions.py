"""`edgephi captions`: the lines of `edgephi transcribe`, while the audio comes; Ctrl-C; one line for bad input."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edgephi.audio.pcm_stream import ENCODINGS
from edgephi.base.errors import ArtifactError
from edgephi.cli.captions import _ENCODINGS
from edgephi.transcription.live.session import LiveTranscription
from edgephi_export import export
from support.bundles import small_bundle
from support.shell import invoke
from support.speech_command import CommandModel, install_model
from support.speech_model import turns
from support.waiting import until

NANO = Path(__file__).parents[3] / "nano"
THREE = turns(1.0, 2.0, 1.0, 3.0, 1.0, 2.0)
BOUND_S = 30


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Callable[..., CommandModel]:
    """Puts a scripted model and a detector of loudness in the place of the real ones."""
    return partial(install_model, monkeypatch)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(NANO / "checkpoint", tmp_path_factory.mktemp("nano") / "model")


def wav(samples: np.ndarray = THREE, **options: str) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, 16_000, format="WAV", **options)
    return buffer.getvalue()


def speech() -> np.ndarray:
    """Two sentences of nano's samples, apart."""
    parts = [np.zeros(8_000, np.float32)]
    for name in ("sentence", "command"):
        parts += [soundfile.read(NANO / "samples" / f"{name}.wav", dtype="float32")[0], np.zeros(16_000, np.float32)]
    return np.concatenate(parts)


def _seconds(_: int, samples: np.ndarray) -> list[int]:
    return [round(np.count_nonzero(np.abs(samples) > 0.01) / 16_000)]


def test_each_pause_ends_a_line(fake: Callable[..., CommandModel]):
    model = fake(_seconds)
    done = invoke("captions", "model", "-", "--no-partials", stdin=wav())
    assert (done.exit_code, done.stdout) == (0, "2\n3\n2\n")
    assert done.stderr == "10.0 s of audio · 3 captions\n"
    assert model.prompts == ["Transcribe the audio clip into text."] * 3


def test_the_prompt_is_that_of_a_translation_where_one_is_asked_for(fake: Callable[..., CommandModel]):
    model = fake(_seconds)
    assert invoke("captions", "model", "-", "--no-partials", "--translate-to", "de", stdin=wav()).exit_code == 0
    assert set(model.prompts) == {"Translate the audio to German."}


@pytest.mark.parametrize("options", [[], ["--pause-s", "2"], ["--window-s", "2"]])
def test_the_lines_are_those_of_transcribe(folder: Path, tmp_path: Path, options: list[str]):
    """In plain lines and in JSON, with and without partial ones."""
    path = tmp_path / "a.wav"
    path.write_bytes(wav(speech()))
    rules = ["--window-s", "20", *options]
    written = invoke("transcribe", folder, path, "--threads", "1", *rules)
    (expected,) = json.loads(invoke("transcribe", folder, path, "--threads", "1", "--json", *rules).stdout)["files"]
    plain = invoke("captions", folder, "-", "--threads", "1", *rules, stdin=path.read_bytes())
    assert (plain.exit_code, plain.stdout) == (0, written.stdout)
    assert plain.stdout
    lines = invoke("captions", folder, "-", "--threads", "1", "--json", *rules, stdin=path.read_bytes()).stdout
    finals = [one for one in map(json.loads, lines.splitlines()) if one["type"] == "final"]
    made = [segment for one in finals for segment in one["segments"]]
    assert [{**one, "confidence": None} for one in made] == [
        {**one, "confidence": None} for one in expected["segments"]
    ]
    assert [one["number"] for one in finals] == list(range(len(finals)))


def test_raw_samples_need_their_rate_and_are_the_same_audio(fake: Callable[..., CommandModel]):
    fake(_seconds)
    raw = (np.stack([THREE, 0 * THREE], axis=1) * 32767).astype("<i2").tobytes()
    options = ["--rate", "16000", "--channels", "2", "--channel", "1", "--no-partials"]
    assert invoke("captions", "model", "-", *options, stdin=raw).stdout == "2\n3\n2\n"
    assert invoke("captions", "model", "-", *options[:-2], "2", "--no-partials", stdin=raw).stdout == ""


def test_a_stream_that_was_cut_is_reported_with_what_came(fake: Callable[..., CommandModel]):
    fake(_seconds)
    done = invoke("captions", "model", "-", "--no-partials", stdin=wav()[:-1_000])
    assert (done.exit_code, done.stdout) == (0, "2\n3\n2\n")
    assert "note: stdin: ended 1,000 bytes before its header says" in done.stderr


def test_damage_further_on_comes_after_what_was_said_before_it(fake: Callable[..., CommandModel]):
    fake(_seconds)
    samples = np.concatenate([THREE, turns(1.0)])
    samples[-1] = np.inf
    done = invoke("captions", "model", "-", "--no-partials", stdin=wav(samples, subtype="FLOAT"))
    assert done.exit_code == 2
    assert done.stdout.startswith("2\n3\n")
    assert done.stderr.count("\n") == 1
    assert "is inf; samples must be finite" in done.stderr


def test_a_fault_of_the_model_ends_the_command_with_what_was_complete(fake: Callable[..., CommandModel]):
    def script(number: int, samples: np.ndarray) -> list[int]:
        if number == 1:
            raise ArtifactError("speech.onnx: damaged")
        return _seconds(number, samples)

    fake(script)
    done = invoke("captions", "model", "-", "--no-partials", "--json", stdin=wav())
    first, last = map(json.loads, done.stdout.splitlines())
    assert (done.exit_code, first["text"], last["error"]["type"]) == (3, "2", "ArtifactError")


def test_audio_without_speech_has_no_captions(fake: Callable[..., CommandModel]):
    fake(_seconds)
    done = invoke("captions", "model", "-", stdin=wav(turns(3.0)))
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "3.0 s of audio · no speech found\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["talk.wav"], "a file is read by `edgephi transcribe`"),
        (["-", "--device", "USB"], "--device is a microphone"),
        (["-", "--encoding", "alaw"], "raw samples need --rate too"),
        (["-", "--channels", "2"], "raw samples need --rate too"),
        (["-", "--rate", "400"], "sampled at 400 Hz"),
        (["-", "--channel", "all"], "'all' has no meaning for live audio"),
        (["-", "--channel", "2"], "has 1 channel, so no channel 2"),
        (["--rate", "16000"], "--rate is about stdin"),
        (["--channel", "1"], "--channel is about stdin"),
        (["-", "--pause-s", "0.1"], "'--pause-s'"),
        (["-", "--window-s", "31"], "'--window-s'"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_a_model_is_loaded(arguments: list[str], words: str):
    done = invoke("captions", "no-such-model", *arguments, stdin=wav())
    assert (done.exit_code, done.stdout) == (2, "")
    assert words in done.stderr


@pytest.mark.parametrize("content", [b"", b"RIFF", b"fLaC" + bytes(100)])
def test_what_is_no_wav_is_one_line(content: bytes):
    done = invoke("captions", "no-such-model", "-", stdin=content)
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("error: stdin: ")


def test_a_folder_without_speech_says_how_to_export_one():
    done = invoke("captions", small_bundle(modalities=("text", "vision")), "-", stdin=wav())
    assert done.exit_code == 2
    assert "no speech" in done.stderr


def test_the_encodings_that_help_spells_out_are_those_that_are_known():
    """They are texts, so that help need not load the runtime."""
    assert tuple(ENCODINGS) == _ENCODINGS


@pytest.fixture
def listening(folder: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """The command as a process whose stdin stays open."""
    begun: list[subprocess.Popen[bytes]] = []

    def start(*options: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "edgephi", "captions", str(folder), "-", "--threads", "1", *options]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        begun.append(process)
        return process

    yield start
    for process in begun:
        process.kill()
        process.communicate()


def _send(process: subprocess.Popen[bytes], content: bytes) -> None:
    assert process.stdin is not None
    process.stdin.write(content)
    process.stdin.flush()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_with_what_is_complete(listening: Callable[..., subprocess.Popen[bytes]], number: signal.Signals):
    """The first sentence is a line as soon as its pause has come, though the stream goes on."""
    process = listening()
    first = wav(speech())
    _send(process, first[: 44 + 2 * 56_000])  # into the pause behind the first sentence
    assert process.stdout is not None
    assert process.stdout.readline() == b"the small cat likes my red circle\n"
    process.send_signal(number)
    began_s = time.monotonic()
    out, err = process.communicate(timeout=BOUND_S)
    assert time.monotonic() - began_s < 5
    assert (process.returncode, out) == (128 + number, b"")
    assert b"interrupted: done up to" in err
    assert b"1 caption" in err


def test_a_reader_that_goes_away_ends_it(listening: Callable[..., subprocess.Popen[bytes]]):
    process = listening()
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    _send(process, wav(speech()))
    _, err = process.communicate(timeout=BOUND_S)
    assert (process.returncode, err) == (141, b"")


def test_partial_lines_come_before_the_pause(listening: Callable[..., subprocess.Popen[bytes]]):
    process = listening("--json")
    content = wav(np.concatenate([speech()[:8_000], *[speech()[8_000:42_000]] * 2, speech()[42_000:]]))
    _send(process, content[: 44 + 2 * 40_000])  # 2.5 s, in the midst of the first sentence
    assert process.stdout is not None
    line = json.loads(process.stdout.readline())
    assert line["type"] == "partial"
    assert line["settled"] + line["tail"]
    out, _ = process.communicate(content[44 + 2 * 40_000 :], timeout=BOUND_S)
    kinds = [json.loads(text)["type"] for text in out.splitlines()]
    assert kinds[-1] == "final"
    assert process.returncode == 0


def test_a_model_that_is_slower_than_the_pipe_makes_the_pipe_wait(
    fake: Callable[..., CommandModel], monkeypatch: pytest.MonkeyPatch
):
    """Nothing is left out, and little is held: the writer of a file must not fill the memory with it."""
    most = 0.0

    def script(number: int, samples: np.ndarray) -> list[int]:
        nonlocal most
        if number == 0:
            until(lambda: session[0].waiting_s > 20)
            time.sleep(0.2)  # the pipe goes on, if nothing makes it wait
        most = max(most, session[0].waiting_s)
        return [number]

    session: list[LiveTranscription] = []
    begin = LiveTranscription.__init__

    def remember(self: LiveTranscription, *arguments: object, **options: object) -> None:
        begin(self, *arguments, **options)  # type: ignore[arg-type]
        session.append(self)

    monkeypatch.setattr(LiveTranscription, "__init__", remember)
    fake(script)
    done = invoke("captions", "model", "-", "--no-partials", stdin=wav(np.tile(turns(0.7, 4.0), 60)))
    assert done.stdout == "".join(f"{number}\n" for number in range(60))
    assert 20 < most < 45
    assert done.stderr == "282.0 s of audio · 60 captions\n"
