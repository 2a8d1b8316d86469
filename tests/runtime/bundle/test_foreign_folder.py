"""What is given in place of a model folder must be called what it is, with a command that leads on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from edgephi.base.errors import ArtifactError, ConfigError
from edgephi.bundle.bundle import MANIFEST_NAME, Bundle
from edgephi_export import ExportOptions, export
from support.bundles import copy_bundle, described, small_bundle, small_checkpoint
from support.media_files import write_recording
from support.shell import invoke


def _refused(path: object, *words: str) -> None:
    for command in (
        ["run", path, "hi"],
        ["inspect", path],
        ["verify", path],
        ["chat", path],
        ["transcribe", path, "x"],
    ):
        done = invoke(*command)
        if command[0] == "transcribe" and done.exit_code == 2:  # its file is looked at first
            continue
        assert (done.exit_code, done.stdout) == (3, ""), done.stderr
        line = done.stderr.strip().splitlines()[-1]
        assert line.startswith(f"error: {path}")
        for word in words:
            assert word in line


@pytest.mark.parametrize("hub_id", ["microsoft/Phi-4-mini-instruct", "some_one/a.b-c", "u/x"])
def test_an_id_of_the_hub_gets_the_commands_that_fetch_it(hub_id: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    name = hub_id.partition("/")[2]
    _refused(hub_id, f"`edgephi export {hub_id} -o {name}`", f"`edgephi pull {hub_id} -o {name}`")


@pytest.mark.parametrize("path", ["models/nano", "./u/x", "a/b/c", "nano"])
def test_a_path_with_nothing_there_is_no_id(path: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    with pytest.raises(ArtifactError, match="no such model folder") as caught:
        Bundle(path)
    assert "pull" not in str(caught.value) or path == "./u/x"


def test_a_folder_that_edgephi_wrote_for_another_runtime_is_known(tmp_path: Path):
    folder = export(small_checkpoint("phi3").path, tmp_path / "genai", ExportOptions(layout="genai"))
    _refused(folder, "one for another runtime, made with `--layout genai`", "`edgephi export CHECKPOINT -o DIR`")
    record = json.loads((folder / "edgephi_export.json").read_text())
    record["source"] |= {"id": "some/model", "revision": "abc"}
    (folder / "edgephi_export.json").write_text(json.dumps(record))
    _refused(folder, "`edgephi export some/model -o DIR`")
    for content in ("{", "[]", '{"source": 3}'):
        (folder / "edgephi_export.json").write_text(content)
        _refused(folder, "`edgephi export CHECKPOINT -o DIR`")
    (folder / "edgephi_export.json").unlink()
    _refused(folder, "for onnxruntime-genai; edgephi starts from the checkpoint")


@pytest.mark.parametrize("layout", ["phi3", "original", "native"])
def test_a_checkpoint_gets_the_command_that_exports_it(layout: str):
    folder = small_checkpoint(layout).path  # type: ignore[arg-type]
    _refused(folder, "but a checkpoint; turn it into one", f"`edgephi export {folder} -o {folder.name}-edgephi`")


Make = Callable[[Path], Path]


def _file(name: str, content: bytes = b"content") -> Make:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return make


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_file("phi4-Q4_K_M.gguf"), "a GGUF file, which llama.cpp runs"),
        (_file("model", b"GGUF\3\0\0\0"), "a GGUF file, which llama.cpp runs"),
        (_file("model.onnx"), "one ONNX graph; make one with `edgephi export CHECKPOINT -o DIR`"),
        (_file("model.safetensors"), "a file of weights; give `edgephi export` the checkpoint's folder"),
        (_file("model-00001-of-00002.pt"), "a file of weights"),
        (_file("notes.txt"), "not an edgephi model folder but a file; make one"),
        (_file("empty", b""), "not an edgephi model folder but a file; make one"),
    ],
)
def test_a_single_file_is_called_what_it_is(tmp_path: Path, make: Make, words: str):
    _refused(make(tmp_path), words)


@pytest.mark.parametrize("name", ["edgephi.json", "decoder.onnx", "tokenizer.json"])
def test_a_file_of_a_model_folder_leads_to_the_folder(name: str):
    folder = small_bundle()
    _refused(folder / name, f"a file of a model folder; give the folder itself: {folder}")


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], "it is empty"),
        (["a-Q4.gguf", "b-Q8.gguf"], "it holds GGUF files, for llama.cpp"),
        (["encoder.onnx", "decoder.onnx"], "it holds ONNX graphs of another tool"),
        (["readme.txt"], "(no edgephi.json); make one"),
    ],
)
def test_a_folder_of_something_else_says_what_is_in_it(tmp_path: Path, names: list[str], words: str):
    for name in names:
        (tmp_path / name).write_bytes(b"")
    _refused(tmp_path, words)


def test_a_model_folder_inside_the_given_one_is_pointed_at(tmp_path: Path):
    copy_bundle(small_bundle("phi3"), tmp_path / "nano")
    _refused(tmp_path, f"but {tmp_path / 'nano'} is one; give that")
    (tmp_path / "snapshots").mkdir()
    shutil.move(tmp_path / "nano", tmp_path / "snapshots" / "0123")
    _refused(tmp_path, f"but {tmp_path / 'snapshots/0123'} is one; give that")


@pytest.mark.parametrize("version", [4, 99])
def test_a_folder_of_a_newer_edgephi_asks_for_that(tmp_path: Path, version: int):
    """Exporting again with the old one is not what its owner wants, and may be impossible on the device."""
    folder = copy_bundle(small_bundle("phi3"), tmp_path / "m")
    manifest = described(folder)
    manifest |= {"schema_version": version, "generator": "edgephi 9.1"}
    (folder / MANIFEST_NAME).write_text(json.dumps(manifest))
    with pytest.raises(
        ArtifactError, match=r"made by a newer edgephi \(edgephi 9\.1\): pip install --upgrade edgephi$"
    ):
        Bundle(folder)
    manifest |= {"schema_version": 3, "more": 1}
    (folder / MANIFEST_NAME).write_text(json.dumps(manifest))
    with pytest.raises(
        ArtifactError, match=r"unknown key 'more'; if it was made by a newer edgephi .*--upgrade edgephi$"
    ):
        Bundle(folder)


@pytest.mark.parametrize(
    ("layout", "adapters", "modalities", "words"),
    [
        (
            "native",
            "speech",
            ("text", "speech"),
            "(it was made with --adapters speech); one that has: `edgephi export ",
        ),
        ("native", "none", ("text",), "(it was made with --adapters none)"),
        ("phi3", None, None, "(it is a text model); one that has: `edgephi export microsoft/Phi-4-multimodal-instruct"),
    ],
)
def test_a_image_for_a_folder_without_eyes_says_which_export_has_them(
    tmp_path: Path, layout: str, adapters: str | None, modalities: tuple[str, ...] | None, words: str
):
    folder = small_bundle(layout, adapters, modalities)  # type: ignore[arg-type]
    done = invoke("run", folder, "What is it?", "--image", Path(__file__).parents[3] / "nano/samples/shape.png")
    assert (done.exit_code, done.stdout) == (2, "")
    assert f"this model folder has no vision {words}" in done.stderr
    assert done.stderr.strip().endswith("--adapters routed`")


def test_audio_for_a_vision_folder_says_which_export_takes_it(tmp_path: Path):
    folder = small_bundle("native", "vision", ("text", "vision"))
    done = invoke("run", folder, "What is said?", "--audio", write_recording(tmp_path / "a.wav"))
    assert done.exit_code == 2
    assert "this model folder has no speech (it was made with --adapters vision)" in done.stderr


def test_an_empty_path_is_still_a_usage_error():
    with pytest.raises(ConfigError, match="the path of the model folder is empty"):
        Bundle("")
