"""A model folder replaced under a running program: answers come from the one that was loaded, or none come."""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgephi import DoneEvent, Model, SamplingOptions
from edgephi.base.errors import ArtifactError, ConfigError
from edgephi.bundle.bundle import Bundle
from support.bundles import copy_bundle, small_bundle
from support.signals import random_audio, random_image

IMAGE = random_image("replaced", 90, 60)
AUDIO = (random_audio("replaced", 0.8, 16000), 16000)
IDS = list(range(30, 50))
FEW = SamplingOptions(max_new_tokens=4, temperature=0.0)
Replace = Callable[[Path, Path], None]


def _by_rename(folder: Path, new: Path) -> None:
    """As `edgephi export --force` does it: the old folder is deleted."""
    folder.rename(folder.with_name("old"))
    new.rename(folder)
    shutil.rmtree(folder.with_name("old"))


def _by_rename_of_each_file(folder: Path, new: Path) -> None:
    """As rsync does it."""
    for path in [path for path in new.rglob("*") if path.is_file()]:
        os.replace(path, folder / path.relative_to(new))


def _by_writing_in_place(folder: Path, new: Path) -> None:
    """As `cp -r` and `rsync --inplace` do it."""
    for path in [path for path in new.rglob("*") if path.is_file()]:
        (folder / path.relative_to(new)).write_bytes(path.read_bytes())


def _by_symlink(folder: Path, new: Path) -> None:
    """As release folders with a link `current` do it; `folder` is the link."""
    folder.unlink()
    folder.symlink_to(new)


def _away(folder: Path, new: Path) -> None:
    """Nothing is there any more."""
    shutil.rmtree(folder)


@pytest.fixture
def place(tmp_path: Path) -> Callable[[Replace], tuple[Path, Path]]:
    """The folder to load, and one of another recipe to replace it with."""

    def make(replace: Replace) -> tuple[Path, Path]:
        folder, new = copy_bundle(small_bundle(), tmp_path / "first"), tmp_path / "second"
        copy_bundle(small_bundle(recipe="int8"), new)
        if replace is _by_symlink:
            (tmp_path / "current").symlink_to(folder)
            folder = tmp_path / "current"
        return folder, new

    return make


def _answers(model: Model) -> list[np.ndarray]:
    """Logits of text, of an image and of audio, whose parts are opened at the first of each."""
    image, audio = model.manifest.tokens.image, model.manifest.tokens.audio
    assert image is not None
    assert audio is not None
    return [
        model.logits(IDS),
        model.logits([*IDS, image], images=[IMAGE]),
        model.logits([*IDS, audio], audio=[AUDIO]),
        model.logits([*IDS, image, audio], images=[IMAGE], audio=[AUDIO]),
    ]


@pytest.mark.parametrize("replace", [_by_rename, _by_rename_of_each_file, _by_symlink, _away])
def test_a_replaced_folder_goes_on_being_the_one_that_was_loaded(
    place: Callable[[Replace], tuple[Path, Path]], replace: Replace
):
    """Text of one recipe and images of another would be an answer of no model at all."""
    folder, new = place(replace)
    with Model.load(small_bundle(), threads=1) as whole:
        expected = _answers(whole)
    with Model.load(folder, threads=1) as model:
        np.testing.assert_array_equal(model.logits(IDS), expected[0])
        replace(folder, new)
        for found, wanted in zip(_answers(model), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)
    if replace is not _away:
        with Model.load(folder, threads=1) as model, Model.load(small_bundle(recipe="int8"), threads=1) as whole:
            np.testing.assert_array_equal(model.logits(IDS), whole.logits(IDS))


def test_a_folder_written_in_place_is_refused_by_every_kind_of_request(place: Callable[[Replace], tuple[Path, Path]]):
    folder, new = place(_by_writing_in_place)
    with Model.load(folder, threads=1) as model:
        model.logits(IDS)
        _by_writing_in_place(folder, new)
        requests: list[Callable[[], object]] = [
            lambda: model.logits(IDS),
            lambda: model.generate("hello", options=FEW),
            lambda: model.generate("hello", images=[IMAGE], options=FEW),
            lambda: model.generate("hello", audio=[AUDIO], options=FEW),
            lambda: model.encode_ahead(audio=[AUDIO]),
            lambda: model.save_prefix("hello", folder.with_name("prefix")),
        ]
        for request in requests:
            with pytest.raises(
                ArtifactError, match=r"was written to while this model was loaded; load it again"
            ) as caught:
                request()
            assert "\n" not in str(caught.value)
        assert not folder.with_name("prefix").exists()


@pytest.mark.parametrize("name", ["weights/decoder.bin", "weights/vision.bin", "vision.onnx", "decoder.onnx"])
@pytest.mark.parametrize("how", ["changed", "shortened"])
def test_one_file_written_in_place_is_enough(tmp_path: Path, name: str, how: str):
    """A shortened file would end the process with SIGBUS and without a word."""
    folder = copy_bundle(small_bundle(), tmp_path / "m")
    with Model.load(folder, threads=1) as model:
        model.logits(IDS)
        with (folder / name).open("r+b") as stream:
            if how == "shortened":
                stream.truncate(4096)
            else:
                stream.write(b"something else")
        with pytest.raises(ArtifactError, match=f"{name}: "):
            model.generate("hello", images=[IMAGE], options=FEW)


def test_a_file_written_during_a_reply_spoils_the_reply(tmp_path: Path):
    """Its later tokens may have been read from the new content: it must not end as if all were well."""
    folder = copy_bundle(small_bundle(), tmp_path / "m")
    with Model.load(folder, threads=1) as model:
        events = model.stream("hello", options=FEW)
        next(events)
        with (folder / "weights/decoder.bin").open("r+b") as stream:
            stream.write(b"something else")
        seen: list[Any] = []
        with pytest.raises(ArtifactError, match="was written to while this model was loaded"):
            seen.extend(events)
        assert not any(isinstance(event, DoneEvent) for event in seen)


def test_files_that_no_answer_depends_on_may_change(tmp_path: Path):
    """A note beside the model, or another time of a graph with the same content, is no other model."""
    folder = copy_bundle(small_bundle(), tmp_path / "m")
    with Model.load(folder, threads=1) as model:
        expected = model.generate("hello", options=FEW).token_ids
        (folder / "note.txt").write_text("hands off")
        (folder / "vision.onnx").write_bytes((folder / "vision.onnx").read_bytes())
        folder.chmod(0o755)
        assert model.generate("hello", options=FEW).token_ids == expected
        model.generate("hello", images=[IMAGE], options=FEW)


def _handles(folder: Path) -> int:
    found = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            found += os.readlink(f"/proc/self/fd/{name}").startswith(str(folder))
        except OSError:  # the one of the listing itself
            continue
    return found


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts what Linux lists")
def test_no_handle_is_left_open(tmp_path: Path):
    folder = copy_bundle(small_bundle(), tmp_path / "m")
    for _ in range(2):
        with Model.load(folder, threads=1) as model:
            model.generate("hello", images=[IMAGE], options=FEW)
            assert _handles(folder) > 3
        del model
        Bundle(folder)
        gc.collect()
        assert _handles(folder) == 0
        (folder / "weights/speech.bin").write_bytes(b"short")
        with pytest.raises(ArtifactError, match=r"speech\.bin: 5 bytes"):
            Bundle(folder)
        gc.collect()
        assert _handles(folder) == 0
        shutil.copy(small_bundle() / "weights/speech.bin", folder / "weights/speech.bin")


def test_a_closed_model_says_so_and_its_handles_name_nothing_else(tmp_path: Path):
    """A number that is used again would lead to another program's file."""
    bundle = Bundle(small_bundle())
    bundle.close()
    bundle.close()
    for call in (lambda: bundle.read("tokenizer.json"), bundle.check_unchanged, bundle.changed_files):
        with pytest.raises(ConfigError, match="this model is closed; load it again"):
            call()
