"""What a newcomer sees of the demo: what went in, a line that can be typed as it stands, and what speed it is not."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgephi.console.preview import audio_preview, image_preview
from edgephi.console.program_name import program_words
from support.bundles import small_bundle
from support.media_files import write_image, write_recording
from support.terminal import Terminal

SAMPLES = (
    '{"samples": [{"mode": "vision_speech", "title": "t", "prompt": "what", "expected": "x", "image": "a.png", '
    '"audio": "a.wav"}]}'
)
XTERM = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "NO_COLOR": "", "COLUMNS": "100"}


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    write_image(tmp_path / "a.png")
    write_recording(tmp_path / "a.wav")
    (tmp_path / "samples.json").write_text(SAMPLES, encoding="utf-8")
    return tmp_path


def _last_line(command: list[str], folder: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 5, done.stderr  # the random model's answer is wrong
    return done.stdout.rstrip().splitlines()[-1].strip()


def _program(folder: Path, name: str) -> Path:
    """What pip writes for the entry point."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!{sys.executable}\nfrom edgephi.cli.main import program\nprogram()\n", encoding="utf-8")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("how", ["module", "relative path", "on the path"])
def test_the_last_line_works_as_it_is_typed_from_here(how: str, samples: Path, tmp_path: Path):
    program = _program(tmp_path, "my env/bin/edgephi")
    start, environment, expected = {
        "module": ([sys.executable, "-m", "edgephi"], {}, f"{shlex.quote(sys.executable)} -m edgephi run "),
        "relative path": (["my env/bin/edgephi"], {}, "'my env/bin/edgephi' run "),
        "on the path": (["edgephi"], {"PATH": f"{program.parent}:{os.environ['PATH']}"}, "edgephi run "),
    }[how]
    if how == "on the path":
        start = ["sh", "-c", 'exec edgephi "$@"', "sh"]
    line = _last_line([*start, "demo", str(small_bundle()), "--samples", "."], samples, environment)
    assert line.startswith(expected)
    typed = subprocess.run(
        ["sh", "-c", f"{line} --max-new-tokens 2"],
        cwd=samples,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert typed.returncode == 0, typed.stderr


def test_a_program_of_another_name_is_not_taken_for_ours(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "argv", ["pytest"])
    assert program_words()[1:] == ["-m", "edgephi"]


def test_the_terminal_shows_the_image_and_the_audio(samples: Path):
    with Terminal("demo", small_bundle(), "--samples", samples, environment=XTERM) as terminal:
        terminal.wait_for("toy of 0.")
        terminal.wait_for_exit()
    assert "\N{UPPER HALF BLOCK}" in terminal.screen
    assert re.search("[▁▂▃▄▅▆▇█]{64}", terminal.screen)
    assert f"{samples}/a.png 90x60" in terminal.screen
    assert f"{samples}/a.wav 1.0 s" in terminal.screen


@pytest.mark.parametrize("without", [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {"PYTHONIOENCODING": "ascii"}])
def test_a_terminal_that_cannot_show_it_gets_words_only(without: dict[str, str], samples: Path):
    with Terminal("demo", small_bundle(), "--samples", samples, environment={**XTERM, **without}) as terminal:
        terminal.wait_for_exit()
    assert not set(terminal.screen) & set("▁▂▃▄▅▆▇█\N{UPPER HALF BLOCK}")
    assert "a.png 90x60" in terminal.screen


@pytest.mark.parametrize("columns", [1, 7, 80])
@pytest.mark.parametrize("size", [(1, 1), (3000, 3), (3, 3000), (640, 480)])
@pytest.mark.parametrize("colours", ["truecolor", ""])
def test_an_image_of_any_shape_fits(
    colours: str, size: tuple[int, int], columns: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLORTERM", colours)
    path = tmp_path / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)).save(path)
    lines = image_preview(path, columns)
    assert 1 <= len(lines) <= 10
    assert {len(re.sub(r"\x1b\[[0-9;]*m", "", line)) for line in lines} == {min(len(_plain(lines[0])), columns, 60)}


def _plain(line: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", line)


def test_a_colour_is_shown_as_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "a.png"
    Image.new("RGB", (8, 8), (255, 0, 0)).save(path)
    monkeypatch.setenv("COLORTERM", "truecolor")
    assert "38;2;248;8;8" in image_preview(path, 80)[0]
    monkeypatch.setenv("COLORTERM", "")
    assert "38;5;196" in image_preview(path, 80)[0]  # red in the palette of 256 colours


def test_silence_and_noise_are_distinguished(tmp_path: Path):
    import soundfile  # noqa: PLC0415

    path = tmp_path / "a.wav"
    half = np.zeros(8000, np.float32)
    soundfile.write(path, np.concatenate([half, half + 0.5]), 16_000)
    assert audio_preview(path, 10) == "▁▁▁▁▁█████"
    soundfile.write(path, np.zeros(8000, np.float32), 16_000)
    assert set(audio_preview(path, 10)) == {"▁"}
