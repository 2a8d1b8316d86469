"""A conversation has one adapter; who asks for what another one does must be warned, not answered with nonsense."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.bundles import small_bundle
from support.media_files import write_image, write_recording
from support.shell import invoke

FEW = ("--max-new-tokens", 3, "--threads", 1)
KEEPS, TAKES_OVER = "keeps the vision adapter", "the vision adapter takes over"
TALKS = [
    ("/image I\nwhat\n/audio A\ntranscribe it\n", KEEPS),
    ("/image I\nwhat\n/audio A\n\n", KEEPS),
    ("/image I\n/audio A\nwhat\nnow Transcribe the audio\n", KEEPS),
    ("/audio A\nwhat\n/image I\nand this\n", TAKES_OVER),
    ("/audio A\nwhat\n/image I\n/audio A\nand this\n", TAKES_OVER),
]
FINE = [
    "hello\nTranscribe\n",
    "/image I\nwhat\nand the colour\n",
    "/audio A\nwhat\n/audio A\nTranscribe\n",
    "/image I\n/audio A\n\n",  # an image with a spoken question is what the vision adapter was made for
    "/image I\nwhat\n/reset\n/audio A\nTranscribe\n",
]


def _chat(talk: str, folder: Path, *options: str) -> str:
    lines = talk.replace(" I\n", f" {write_image(folder / 'a.png')}\n").replace(
        " A\n", f" {write_recording(folder / 'a.wav')}\n"
    )
    done = invoke("chat", small_bundle(), *FEW, *options, stdin=lines)
    assert done.exit_code == 0, done.stderr
    return done.stderr


@pytest.mark.parametrize(("talk", "note"), TALKS, ids=[talk for talk, _ in TALKS])
def test_a_turn_that_another_adapter_should_answer_is_said_once(talk: str, note: str, tmp_path: Path):
    output = _chat(talk, tmp_path)
    assert output.count("adapter") == output.count("note: an earlier") * 2 + output.count("note: with an image")
    assert output.count(note) == 1
    assert note not in _chat(talk, tmp_path, "--quiet")


@pytest.mark.parametrize("talk", FINE)
def test_a_turn_with_its_own_adapter_is_answered_without_a_word(talk: str, tmp_path: Path):
    assert "adapter" not in _chat(talk, tmp_path)


def test_the_adapter_is_shown_beside_the_timing(tmp_path: Path):
    image, recording = write_image(tmp_path / "a.png"), write_recording(tmp_path / "a.wav")
    for media, name in ((("--image", image), "vision"), (("--audio", recording), "speech"), ((), "none")):
        line = invoke("run", small_bundle(), "x", *media, *FEW).stderr.rstrip().splitlines()[-1]
        assert line.endswith(f" · {name} adapter") if media else "adapter" not in line
        assert json.loads(invoke("run", small_bundle(), "x", *media, *FEW, "--json").stdout)["adapter"] == name
    output = _chat("/image I\nwhat\n", tmp_path, "--verbose")
    assert "tokens · vision adapter\n" in output
