"""`edgephi transcribe`: the trained wording, the files it writes, one bad recording among good ones, Ctrl-C."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edgephi.base.errors import CapacityError
from edgephi.console.report import shown
from support.bundles import small_bundle
from support.shell import invoke
from support.speech_command import CommandModel, install_model
from support.speech_model import turns

TWO = turns(1.0, 2.0, 1.0, 3.0, 1.0)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Callable[..., CommandModel]:
    """Puts a scripted model and a detector of loudness in the place of the real ones."""
    return partial(install_model, monkeypatch)


def _write(path: Path, samples: np.ndarray = TWO) -> Path:
    soundfile.write(path, samples, 16_000)
    return path


@pytest.mark.parametrize(
    ("options", "prompt"),
    [
        ([], "Transcribe the audio clip into text."),
        (["--translate-to", "de"], "Translate the audio to German."),
        (["--translate-to", "french"], "Translate the audio to French."),
    ],
)
def test_the_model_is_asked_in_the_words_it_was_trained_on(fake, tmp_path: Path, options: list[str], prompt: str):
    model = fake()
    done = invoke("transcribe", "model", _write(tmp_path / "a.wav"), "--json", *options)
    assert model.prompts == [prompt] * 2
    assert json.loads(done.stdout)["prompt"] == prompt


def test_one_recording_is_its_lines_and_several_are_named(fake, tmp_path: Path):
    files = [_write(tmp_path / "a.wav"), _write(tmp_path / "b.wav")]
    fake()
    one = invoke("transcribe", "model", files[0])
    assert (one.exit_code, one.stdout) == (0, "0\n1\n")
    assert one.stderr.startswith(f"{files[0]}: 8.0 s of audio in ")
    assert "real-time factor" in one.stderr
    assert "2 segments" in one.stderr
    fake()
    both = invoke("transcribe", "model", *files)
    assert both.stdout == "".join(f"{files[i // 2]}: {i}\n" for i in range(4))


def test_json_has_the_schema_that_help_promises(fake, tmp_path: Path):
    fake(lambda number, _: [1] * 1000 if number == 0 else [number])
    done = invoke("transcribe", "model", _write(tmp_path / "a.wav"), tmp_path / "gone.wav", "--format", "json")
    whole, gone = json.loads(done.stdout)["files"]
    assert (whole["complete"], whole["error"]) == (True, None)
    assert whole["duration_s"] == 8.0
    assert whole["real_time_factor"] == pytest.approx(whole["elapsed_s"] / 8.0, abs=1e-3)
    last = whole["segments"][-1]
    assert last["start_s"] == pytest.approx(4.0, abs=0.05)
    assert last["end_s"] == pytest.approx(7.0, abs=0.05)
    assert 0 < last["confidence"] < 1
    assert (gone["complete"], gone["segments"]) == (False, [])
    assert "no such file" in gone["error"]
    help_text = invoke("transcribe", "--help").stdout
    for name in [*whole, *last]:
        assert name in help_text


def test_a_gap_is_marked_and_counted(fake, tmp_path: Path):
    fake(lambda number, _: [1] * 1000 if number == 0 else [7])
    done = invoke("transcribe", "model", _write(tmp_path / "a.wav", turns(1.0, 0.8, 1.0, 2.0, 1.0)))
    assert done.stdout == "[...]\n7\n"
    assert "1 left out as [...]" in done.stderr


def test_a_bad_recording_is_reported_the_others_are_done_and_the_exit_code_says_so(fake, tmp_path: Path):
    good, bad = _write(tmp_path / "good.wav"), tmp_path / "bad.wav"
    bad.write_bytes(b"this is no sound")
    fake()
    done = invoke("transcribe", "model", bad, tmp_path / "gone.wav", good)
    assert done.exit_code == 2
    assert done.stdout == f"{good}: 0\n{good}: 1\n"
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 2
    assert str(bad) in errors[0]
    assert "gone.wav: no such file" in errors[1]


def test_errors_of_several_kinds_exit_with_1(fake, tmp_path: Path):
    def script(*_: object) -> list[int]:
        raise CapacityError("too long")

    fake(script)
    done = invoke("transcribe", "model", _write(tmp_path / "a.wav"), tmp_path / "gone.wav")
    assert done.exit_code == 1
    assert invoke("transcribe", "model", tmp_path / "a.wav").exit_code == 4


def test_what_came_before_the_damage_is_kept_and_said(fake, tmp_path: Path):
    samples = np.concatenate([TWO, np.zeros(1 << 20, np.float32)])
    samples[-1] = np.nan
    path = tmp_path / "a.wav"
    soundfile.write(path, samples, 16_000, subtype="FLOAT")
    fake()
    done = invoke("transcribe", "model", path, "-o", tmp_path / "a.srt")
    assert done.exit_code == 2
    assert "is nan" in done.stderr
    assert f"note: {path} is done up to 0:0" in done.stderr
    assert (tmp_path / "a.srt").read_text().count("-->") == 2


def test_several_recordings_become_files_in_a_folder(fake, tmp_path: Path):
    files = [_write(tmp_path / "a.wav"), _write(tmp_path / "b.flac")]
    fake()
    done = invoke("transcribe", "model", *files, "--format", "vtt", "--output", tmp_path / "new" / "texts")
    assert (done.exit_code, done.stdout) == (0, "")
    written = sorted((tmp_path / "new" / "texts").iterdir())
    assert [path.name for path in written] == ["a.vtt", "b.vtt"]
    assert all(path.read_text().startswith("WEBVTT\n\n00:00:0") for path in written)


def test_the_name_of_the_output_chooses_the_format(fake, tmp_path: Path):
    fake()
    done = invoke("transcribe", "model", _write(tmp_path / "a.wav"), "-o", tmp_path / "b.json")
    assert done.exit_code == 0
    assert [s["text"] for s in json.loads((tmp_path / "b.json").read_text())["segments"]] == ["0", "1"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{a}", "--json", "--format", "srt"], "--json writes JSON to stdout"),
        (["{a}", "--json", "-o", "{b}.json"], "--json writes JSON to stdout"),
        (["{a}", "{b}", "--format", "srt"], "2 files are not one srt file; give a folder with --output"),
        (["{a}", "-o", "{a}"], "is a recording to be transcribed"),
        (["{a}", "-o", "{a}.gone/b.txt"], "its folder does not exist"),
        (["{a}", "{a2}", "-o", "{b}"], "would both be written to"),
        (["{a}", "--window-s", "31"], "31.0 is not in the range"),
        (["{a}", "--translate-to", "xx"], "'xx' is not one of"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_the_model_is_loaded(tmp_path: Path, arguments: list[str], message: str):
    (tmp_path / "other").mkdir()
    names = {"a": _write(tmp_path / "a.wav"), "a2": _write(tmp_path / "other" / "a.flac"), "b": tmp_path / "b"}
    done = invoke("transcribe", "no-such-model", *(argument.format(**names) for argument in arguments))
    assert done.exit_code == 2
    assert message in done.stderr
    assert soundfile.read(names["a"])[0].shape == TWO.shape


def test_ctrl_c_keeps_what_is_complete_and_says_so(fake, tmp_path: Path):
    def script(number: int, _: np.ndarray) -> list[int]:
        if number == 1:
            raise KeyboardInterrupt
        return [number]

    files = [_write(tmp_path / "a.wav"), _write(tmp_path / "b.wav")]
    fake(script)
    done = invoke("transcribe", "model", *files, "-o", tmp_path / "texts")
    assert done.exit_code == 130
    assert sorted(path.name for path in (tmp_path / "texts").iterdir()) == ["a.txt", "a.txt.partial"]
    assert (tmp_path / "texts" / "a.txt").read_text() == "0\n"
    fake(script)
    done = invoke("transcribe", "model", *files, "--json")
    assert done.exit_code == 130
    assert f"interrupted: {files[0]} is done up to 0:0" in done.stderr
    assert "1 more not begun" in done.stderr
    (only,) = json.loads(done.stdout)["files"]
    assert only["complete"] is False
    assert [segment["text"] for segment in only["segments"]] == ["0"]


def test_a_recording_without_speech_is_no_error(fake, tmp_path: Path):
    model = fake()
    done = invoke("transcribe", "model", _write(tmp_path / "a.wav", np.zeros(32_000, np.float32)))
    assert (done.exit_code, done.stdout) == (0, "")
    assert "no speech found" in done.stderr
    assert model.windows == []


def test_a_file_that_cannot_be_written_leaves_the_old_one(fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    target = tmp_path / "a.txt"
    target.write_text("before")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    fake()
    monkeypatch.setattr("edgephi.base.output_file.os.replace", full)
    done = invoke("transcribe", "model", _write(tmp_path / "a.wav"), "-o", target)
    assert done.exit_code == 4
    assert "a.txt: cannot be written, the disk is full" in done.stderr
    assert done.stdout == "0\n1\n"
    assert target.read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "a.txt.partial", "a.wav"]


def test_a_name_with_a_line_break_or_an_escape_stays_one_line(fake, tmp_path: Path):
    fake()
    recording = _write(tmp_path / "a\n\x1b[2Jb.wav")
    done = invoke("transcribe", "model", tmp_path / "gone\n\x1b[2J.wav", recording)
    assert "gone \ufffd[2J.wav: no such file" in done.stderr.splitlines()[0]
    assert "a \ufffd[2Jb.wav: 0\n" in done.stdout
    assert "\x1b" not in done.output


def test_on_a_terminal_the_text_holds_nothing_that_acts(monkeypatch: pytest.MonkeyPatch):
    for is_terminal, text in ((True, "a\ufffd[2J"), (False, "a\x1b[2J")):
        monkeypatch.setattr("sys.stdout.isatty", lambda answer=is_terminal: answer, raising=False)
        assert shown("a\x1b[2J") == text


def test_a_folder_without_speech_says_how_to_export_one(tmp_path: Path):
    deaf = small_bundle(modalities=("text", "vision"))
    done = invoke("transcribe", deaf, _write(tmp_path / "a.wav"))
    assert done.exit_code == 2
    assert "this model folder has no speech (" in done.stderr


def test_a_small_random_model_gets_through_a_real_recording():
    """With the real detector and the real model: their tokens are noise, their times are not."""
    sample = Path(__file__).parents[3] / "nano" / "samples" / "sentence.wav"
    done = invoke("transcribe", small_bundle(), sample, "--json")
    assert done.exit_code == 0
    (whole,) = json.loads(done.stdout)["files"]
    assert whole["segments"]
    assert 0 <= whole["segments"][0]["start_s"] < whole["segments"][-1]["end_s"] <= whole["duration_s"] + 0.032


def test_long_segments_are_cut_where_that_is_asked_for(fake, tmp_path: Path):
    long = turns(1.0, 25.0, 1.0)
    fake(lambda *_: list(range(100, 140)))
    whole = invoke("transcribe", "model", _write(tmp_path / "a.wav", long))
    assert len(whole.stdout.splitlines()) == 1
    fake(lambda *_: list(range(100, 140)))
    lines = invoke("transcribe", "model", tmp_path / "a.wav", "--max-segment-s", "5").stdout.splitlines()
    assert len(lines) >= 5
    assert " ".join(lines) == whole.stdout.strip()
    fake(lambda *_: list(range(100, 140)))
    done = invoke("transcribe", "model", tmp_path / "a.wav", "--json", "--max-segment-s", "5")
    segments = json.loads(done.stdout)["files"][0]["segments"]
    assert [segment["text"] for segment in segments] == lines
    assert all(0 < segment["end_s"] - segment["start_s"] <= 5 for segment in segments)
    refused = invoke("transcribe", "model", tmp_path / "a.wav", "--max-segment-s", "0")
    assert refused.exit_code == 2
