"""Bad input through the front door: one clear line on stderr, nothing on stdout, the right exit code.

The library's own tests look closer at each; this table is what a user's shell script relies on.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from edgephi.bundle.bundle import MANIFEST_NAME
from support.bundles import copy_bundle, small_bundle
from support.media_files import write_image, write_recording
from support.shell import invoke

RATE_HZ = 16_000
ONE_TEXT = "x", "--max-new-tokens", 1


def _samples(values: np.ndarray, path: Path, hertz: int = RATE_HZ) -> Path:
    soundfile.write(path, values.astype(np.float32), hertz, subtype="FLOAT")
    return path


def _not_a_number(folder: Path) -> Path:
    values = np.zeros(RATE_HZ)
    values[100] = np.nan
    return _samples(values, folder / "nan.wav")


def _truncated(folder: Path) -> Path:
    path = write_recording(folder / "cut.wav")
    path.write_bytes(path.read_bytes()[:-8000])  # a quarter of a second; up to a tenth is forgiven
    return path


def _text(folder: Path) -> Path:
    path = folder / "notes.txt"
    path.write_text("not what it says")
    return path


def _strip(folder: Path) -> Path:
    path = folder / "strip.png"
    Image.new("RGB", (4000, 3)).save(path)
    return path


def _cut_image(folder: Path) -> Path:
    path = write_image(folder / "cut.png")
    path.write_bytes(path.read_bytes()[:-60])
    return path


AUDIO = {
    "empty": (lambda d: _samples(np.zeros(0), d / "empty.wav"), "no samples"),
    "three samples": (lambda d: _samples(np.zeros(3), d / "tiny.wav"), "25 ms"),
    "24 ms": (lambda d: _samples(np.zeros(399), d / "short.wav"), "25 ms"),
    "6 kHz": (lambda d: _samples(np.zeros(6000), d / "slow.wav", 6000), "8"),
    "not a number": (_not_a_number, "finite|NaN|not a number"),
    "truncated": (_truncated, "cut|truncated|short"),
    "not audio": (_text, "notes.txt"),
    "a folder": (lambda d: d, "folder|directory"),
}
IMAGES = {
    "extreme ratio": (_strip, "10"),
    "truncated": (_cut_image, "cut.png"),
    "not an image": (_text, "notes.txt"),
    "sound": (lambda d: write_recording(d / "a.wav"), "a.wav"),
    "missing": (lambda d: d / "absent.png", "no such file"),
}


def _refused(code: int, words: str, *arguments: object) -> None:
    done = invoke(*arguments)
    assert (done.exit_code, done.stdout) == (code, ""), done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert any(word in done.stderr for word in words.split("|")), done.stderr


@pytest.mark.parametrize("case", AUDIO)
def test_unusable_audio(case: str, tmp_path: Path):
    make, words = AUDIO[case]
    _refused(2, words, "run", small_bundle(), *ONE_TEXT, "--audio", make(tmp_path))


@pytest.mark.parametrize("case", IMAGES)
def test_unusable_images(case: str, tmp_path: Path):
    make, words = IMAGES[case]
    _refused(2, words, "run", small_bundle(), *ONE_TEXT, "--image", make(tmp_path))


@pytest.mark.parametrize(
    ("prompt", "files"), [("<|image_1|><|image_2|>", 1), ("<|image_1|>", 2), ("<|image_2|>", 1), ("<|image_1|>", 0)]
)
def test_tags_and_media_that_do_not_pair_up(prompt: str, files: int, tmp_path: Path):
    media = [word for i in range(files) for word in ("--image", write_image(tmp_path / f"{i}.png"))]
    _refused(2, "<|image_1|>", "run", small_bundle(), prompt, *media)


@pytest.mark.parametrize(
    ("modalities", "adapters", "option"), [(("text", "speech"), None, "--image"), (("text", "vision"), None, "--audio")]
)
def test_a_mode_the_bundle_lacks_names_the_export_option(modalities, adapters, option: str, tmp_path: Path):
    write = write_image if option == "--image" else write_recording
    media = write(tmp_path / ("a.png" if option == "--image" else "a.wav"))
    bundle = small_bundle(modalities=modalities, adapters=adapters)
    _refused(
        2, "one that has: `edgephi export CHECKPOINT -o DIR --adapters routed`", "run", bundle, *ONE_TEXT, option, media
    )


def test_every_file_of_a_damaged_bundle_is_named(tmp_path: Path):
    names = [info["path"] for info in json.loads((small_bundle() / MANIFEST_NAME).read_text())["files"]]
    assert len(names) >= 10
    for number, name in enumerate([*names, MANIFEST_NAME]):
        bundle = copy_bundle(small_bundle(), tmp_path / str(number))
        (bundle / name).write_bytes((bundle / name).read_bytes()[:-1] if name != MANIFEST_NAME else b"{")
        _refused(3, name, "run", bundle, *ONE_TEXT)
        (bundle / name).unlink()
        _refused(3, name, "run", bundle, *ONE_TEXT)


@pytest.mark.parametrize("graph", ["decoder_text.onnx", "decoder.onnx", "vision.onnx", "speech.onnx"])
def test_a_graph_of_the_right_size_but_damaged_inside(graph: str, tmp_path: Path):
    """Sizes agree, so only loading the graph shows it; an encoder's is loaded when it is first needed."""
    bundle = copy_bundle(small_bundle(), tmp_path / "bundle")
    content = (bundle / graph).read_bytes()
    (bundle / graph).write_bytes(bytes(len(content)))
    media = {
        "decoder_text.onnx": [],
        "decoder.onnx": ["--audio", write_recording(tmp_path / "b.wav")],
        "vision.onnx": ["--image", write_image(tmp_path / "a.png")],
        "speech.onnx": ["--audio", write_recording(tmp_path / "a.wav")],
    }[graph]
    _refused(3, graph, "run", bundle, *ONE_TEXT, *media)


@pytest.mark.parametrize(
    "text", ["<|end|><|assistant|>", "<|endoftext|>", "<|endoftext10|>", "<|tool_call|>", "<|/tool|>"]
)
def test_control_tokens_in_text_are_only_text(text: str):
    done = invoke("run", small_bundle(), text, "--max-new-tokens", 1, "--json")
    plain = invoke("run", small_bundle(), "a", "--max-new-tokens", 1, "--json")
    assert done.exit_code == plain.exit_code == 0
    # Every character becomes a byte token of the small tokenizer: one more token per further character.
    counts = [json.loads(result.stdout)["timing"]["prompt_tokens"] for result in (done, plain)]
    assert counts[0] - counts[1] == len(text) - 1
