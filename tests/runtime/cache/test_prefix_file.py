"""A saved prefix must give the answers of the conversation it was read from, or be refused; never anything else."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgephi import ArtifactError, CapacityError, ConfigError, Model, SamplingOptions
from support.bundles import copy_bundle, described, small_bundle
from support.signals import random_image

IMAGE = random_image("prefix file", 90, 60)
FEW = SamplingOptions(max_new_tokens=6, temperature=0.0)
TALK = [{"role": "system", "content": "Be brief. " * 5}, {"role": "user", "content": "hello"}]
CLOSE = 2e-5


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("prefix") / "talk.prefix"
    with _load() as model:
        model.save_prefix(TALK, path)
    return path


def _load(bundle: Path | None = None, **options: int) -> Model:
    return Model.load(bundle or small_bundle(), threads=1, **options)  # type: ignore[arg-type]


def _held(model: Model) -> int:
    assert model._decoder is not None
    return model._decoder.num_cached


def test_a_loaded_prefix_is_not_read_again_and_answers_alike(saved: Path):
    with _load() as model, _load() as fresh:
        positions = model.load_prefix(saved)
        widths = _watch(model)
        reply = model.generate(TALK, options=FEW)
        assert positions == reply.timing.prompt_tokens
        assert widths[0] == 1
        assert reply.token_ids == fresh.generate(TALK, options=FEW).token_ids


def _watch(model: Model) -> list[int]:
    """New positions of each pass from now on."""
    decoder, widths = model._decoder, []
    assert decoder is not None
    run = decoder._run

    def observed(embeds: np.ndarray, *arguments: object, **options: object) -> np.ndarray:
        widths.append(embeds.shape[1])
        return run(embeds, *arguments, **options)  # type: ignore[arg-type]

    decoder._run = observed  # type: ignore[method-assign]
    return widths


def test_keys_and_values_come_back_bit_by_bit(saved: Path, tmp_path: Path):
    with _load() as model:
        model.load_prefix(saved)
        assert model.save_prefix(TALK, tmp_path / "again") == _held(model)
    assert (tmp_path / "again").read_bytes() == saved.read_bytes()


def test_a_prefix_with_a_image_is_used_for_that_image_only(tmp_path: Path):
    path, question = tmp_path / "image.prefix", "what is there? " * 10
    with _load() as model:
        positions = model.save_prefix(question, path, images=[IMAGE])
        expected = model.generate(question, images=[IMAGE], options=FEW)
    with _load() as model:
        assert model.load_prefix(path) == positions
        widths = _watch(model)
        assert model.generate(question, images=[IMAGE[::-1].copy()], options=FEW).token_ids
        assert widths[0] == positions - 1  # all but the token before the image
        widths.clear()
        assert model.generate(question, images=[IMAGE.copy()], options=FEW).token_ids == expected.token_ids
        assert widths[0] == 1


def test_a_file_that_is_there_is_loaded_and_one_that_is_not_is_made(tmp_path: Path):
    path = tmp_path / "p"
    with _load() as model:
        made = model.cache_prompt(TALK, path)
        content = path.read_bytes()
        assert model.cache_prompt("other", path) == made
        assert path.read_bytes() == content
        assert os.listdir(tmp_path) == ["p"]


def test_a_prefix_of_another_model_is_refused(saved: Path, tmp_path: Path):
    folder = copy_bundle(small_bundle(), tmp_path / "m")
    text = json.dumps(described(folder)).replace('"revision": null', '"revision": "x"')
    (folder / "edgephi.json").write_text(text)
    with (
        _load(folder) as model,
        pytest.raises(ArtifactError, match=r"talk.prefix: made with another model folder than"),
    ):
        model.load_prefix(saved)


def _cut(content: bytes) -> bytes:
    return content[:-1]


def _longer(content: bytes) -> bytes:
    return content + b"x"


def _flip(place: float) -> Callable[[bytes], bytes]:
    def flip(content: bytes) -> bytes:
        at = int(len(content) * place)
        return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]

    return flip


def _header(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    """Another header with a right hash: what an attacker, or another version, would write."""

    def change(content: bytes) -> bytes:
        assert old in content
        assert len(old) == len(new)
        content = content.replace(old, new, 1)[:-32]
        return content + hashlib.sha256(content).digest()

    return change


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (lambda _: b"", "not a saved prefix"),
        (lambda _: b"PK\3\4 something else", "not a saved prefix"),
        (lambda content: content[:19], "damaged or cut"),
        (_cut, "damaged or cut"),
        (_longer, "damaged or cut"),
        (lambda content: content[: len(content) // 2], "damaged or cut"),
        (_flip(0.3), "damaged or cut"),
        (_flip(0.9), "damaged or cut"),
        (lambda content: content[:17] + b"\xff\xff\xff\xff" + content[21:], "damaged or cut"),
        (_header(b'"none"', b'"nine"'), "damaged or cut"),
        (_header(b'"positions": ', b'"positions":-'), "damaged or cut"),
        (_header(b'"is_long": false', b'"is_lung": false'), "damaged or cut"),
        (_header(b'"is_long": false', b'"is_long": 12345'), "damaged or cut"),
        (_header(b'"float32"', b'"float64"'), "damaged or cut"),
        (_header(b'"float32"', b'"float16"'), "holds keys and values in float16"),
    ],
)
def test_a_damaged_file_is_refused_and_the_model_is_as_before(
    saved: Path, tmp_path: Path, damage: Callable[[bytes], bytes], match: str
):
    path = tmp_path / "bad.prefix"
    path.write_bytes(damage(saved.read_bytes()))
    with _load() as model:
        expected = model.generate(TALK, options=FEW).token_ids
        held = _held(model)
        with pytest.raises(ArtifactError, match=rf"bad\.prefix: .*{match}"):
            model.load_prefix(path)
        assert _held(model) == held
        assert model.generate(TALK, options=FEW).token_ids == expected


def test_a_missing_file_is_named(tmp_path: Path):
    with _load() as model, pytest.raises(ArtifactError, match=r"gone: cannot be read \(No such file"):
        model.load_prefix(tmp_path / "gone")


def test_a_prefix_beyond_the_context_or_the_budget_is_refused(saved: Path):
    with _load(max_context=20) as model, pytest.raises(CapacityError, match="but the context holds 20"):
        model.load_prefix(saved)
    with _load(cache_bytes=0) as model, pytest.raises(CapacityError, match="raise cache_bytes"):
        model.load_prefix(saved)


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "p"
    with _load() as model:
        path.write_bytes(b"old")
        with pytest.raises(ConfigError, match=r"p: exists and is not a saved prefix, so it is not replaced"):
            model.save_prefix(TALK, path)
        path.write_bytes(b"EDGEPHI-PREFIX-1\nold")
        with pytest.raises(ConfigError, match=r"none/p: cannot be written, its folder does not exist"):
            model.save_prefix(TALK, tmp_path / "none" / "p")
        for folder in (tmp_path, Path("."), Path("/")):
            with pytest.raises(ConfigError, match=r"is a folder; give the name of a file in it"):
                model.save_prefix(TALK, folder)

        def full(_: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("edgephi.base.output_file.os.fsync", full)
        with pytest.raises(ConfigError, match=r"p: cannot be written \(No space left on device\); choose"):
            model.save_prefix(TALK, path)
    assert os.listdir(tmp_path) == ["p"]
    assert path.read_bytes() == b"EDGEPHI-PREFIX-1\nold"
