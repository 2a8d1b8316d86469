"""`edgephi transcribe`: the trained wording, one bad file among good ones, the exit code."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgephi import Model, SamplingOptions
from edgephi.cli.report import shown
from support.bundles import small_bundle
from support.media_files import write_clip
from support.shell import invoke


@pytest.fixture(scope="module")
def model() -> Model:
    return Model.load(small_bundle(), threads=1)


@pytest.mark.parametrize(
    ("options", "prompt"),
    [
        ([], "Transcribe the audio clip into text."),
        (["--translate-to", "de"], "Translate the audio to German."),
        (["--translate-to", "French"], "Translate the audio to French."),
    ],
)
def test_the_model_is_asked_in_the_words_it_was_trained_on(
    model: Model, tmp_path: Path, options: list[str], prompt: str
):
    sound = write_clip(tmp_path / "a.wav")
    done = invoke("transcribe", small_bundle(), sound, "--json", *options)
    result = json.loads(done.stdout)
    assert result["prompt"] == prompt
    # 64 tokens and 12 for each second
    expected = model.generate(prompt, audio=[sound], options=SamplingOptions(max_new_tokens=76))
    assert result["files"][0]["text"] == expected.text
    assert result["files"][0]["duration_s"] == 1.0


def test_one_file_is_its_text_and_several_are_named(model: Model, tmp_path: Path):
    files = [write_clip(tmp_path / "a.wav"), write_clip(tmp_path / "b.wav")]
    one = invoke("transcribe", small_bundle(), files[0])
    assert one.exit_code == 0
    assert "1.0 s of audio" in one.stderr
    both = invoke("transcribe", small_bundle(), *files)
    assert both.stdout.startswith(f"{files[0]}: {one.stdout}")
    assert f"{files[1]}: " in both.stdout


def test_a_bad_file_is_reported_the_others_are_done_and_the_exit_code_says_so(tmp_path: Path):
    good, bad = write_clip(tmp_path / "good.wav"), tmp_path / "bad.wav"
    bad.write_bytes(b"this is no sound")
    done = invoke("transcribe", small_bundle(), bad, tmp_path / "gone.wav", good)
    assert done.exit_code == 2
    assert f"{good}: " in done.stdout
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 2
    assert str(bad) in errors[0]
    assert "gone.wav: no such file" in errors[1]


def test_a_name_with_a_line_break_or_an_escape_stays_one_line(tmp_path: Path):
    clip = write_clip(tmp_path / "a\n\x1b[2Jb.wav")
    done = invoke("transcribe", small_bundle(), tmp_path / "gone\n\x1b[2J.wav", clip)
    assert "gone \ufffd[2J.wav: no such file" in done.stderr.splitlines()[0]
    assert "a \ufffd[2Jb.wav: " in done.stdout
    assert "\x1b" not in done.output


def test_on_a_terminal_the_text_holds_nothing_that_acts(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.stdout", SimpleNamespace(isatty=lambda: True))
    assert shown("a\x1b[2J") == "a\ufffd[2J"
    monkeypatch.setattr("sys.stdout", SimpleNamespace(isatty=lambda: False))
    assert shown("a\x1b[2J") == "a\x1b[2J"


def test_json_lists_every_file_with_its_text_or_its_error(tmp_path: Path):
    good = write_clip(tmp_path / "good.wav")
    done = invoke("transcribe", small_bundle(), tmp_path / "gone.wav", good, "--format", "json")
    gone, heard = json.loads(done.stdout)["files"]
    assert "no such file" in gone["error"]
    assert heard["timing"]["prompt_tokens"] > 13


def test_a_long_clip_comes_with_a_note(tmp_path: Path):
    done = invoke("transcribe", small_bundle(), write_clip(tmp_path / "long.wav", 41.0, 8000))
    assert "long.wav is 41 s long; the model is best up to 40 s" in done.stderr


def test_a_language_the_model_does_not_speak_is_a_usage_error(tmp_path: Path):
    assert invoke("transcribe", small_bundle(), tmp_path / "a.wav", "--translate-to", "xx").exit_code == 2


def test_a_folder_without_ears_says_how_to_export_one(tmp_path: Path):
    deaf = small_bundle(modalities=("text", "vision"))
    done = invoke("transcribe", deaf, write_clip(tmp_path / "a.wav"))
    assert done.exit_code == 2
    assert "this bundle has no speech: export with --modalities text,vision,speech" in done.stderr
