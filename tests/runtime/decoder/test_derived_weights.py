"""Weights that a device derives for long prompts: the same answers, written once, and never where they do harm."""

from __future__ import annotations

import dataclasses
import errno
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgephi import Model, SamplingOptions
from edgephi.base.atomic_write import check_space
from edgephi.base.cancellation import Stopped, never
from edgephi.base.errors import ArtifactError, CapacityError
from edgephi.base.file_lock import lock_alone
from edgephi.base.free_memory import Headroom
from edgephi.base.hardware import Memory
from edgephi.bundle.bundle import Bundle
from edgephi.bundle.manifest import ADAPTER_IDS, Adapter, CacheKind
from edgephi.decoder import derived_folder, prefill_weights
from edgephi.decoder.decoder import Decoder
from edgephi.decoder.derived_folder import DerivedFolder, kept
from edgephi.decoder.embedding_table import EmbeddingTable
from edgephi.model_options import ModelOptions
from edgephi.prompt.input_sequence import InputSequence
from edgephi_export import ExportOptions, export
from support.bundles import copy_bundle, put, small_bundle, small_checkpoint
from support.random_values import integers

IDS = np.array(integers("derived weights", 0, 700, 300))
TEXT = "one two three " * 30


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "edgephi" / "prefill"


def _folder(recipe: str = "int4", kind: CacheKind = "float") -> Path:
    return small_bundle(recipe=recipe, kv_cache=kind, prefill="derived")


def _derived(path: Path | None = None) -> DerivedFolder:
    return DerivedFolder(Bundle(path or _folder()))


def _logits(path: Path, adapter: Adapter = "none", **options: Any) -> np.ndarray:
    bundle = Bundle(path)
    decoder = Decoder(bundle, ModelOptions(threads=1, **options))
    sequence = InputSequence(EmbeddingTable(bundle, bundle.manifest.decoder.embedding), IDS[:200], {})
    return decoder.forward(sequence, adapter=adapter, rows=3).copy()


def _decibels(found: np.ndarray, expected: np.ndarray) -> float:
    return float(10 * np.log10((expected**2).sum() / ((found - expected) ** 2).sum()))


def test_from_floats_they_are_the_bytes_that_an_export_stores():
    """So one rule makes both: rows, halves of gate and up, adapters, and the order of axes."""
    folder, stored = _derived(_folder("fp32")), small_bundle(recipe="fp32", prefill="int8")
    assert folder.make(threads=2, should_stop=never)
    names = {"weights/prefill.bin", "weights/prefill_vision.bin", "weights/prefill_speech.bin"}
    assert {str(path.relative_to(folder.path)) for path in folder.path.rglob("*.bin") if path.stat().st_size} == names
    for name in names:
        assert (folder.path / name).read_bytes() == (stored / name).read_bytes()


@pytest.mark.parametrize("adapter", ADAPTER_IDS)
@pytest.mark.parametrize("kind", ["float", "int8"])
def test_they_follow_the_decoders_own_codes(kind: CacheKind, adapter: Adapter):
    """The bound that docs/model-folder.md states: 15 dB, as for weights that were stored, and nothing beside it."""
    own = {name: _logits(_folder("int4", kind), name, prefill="off") for name in ADAPTER_IDS}
    found = _logits(_folder("int4", kind), adapter, prefill_threshold=1)
    assert not np.array_equal(found, own[adapter])
    assert _decibels(found, own[adapter]) > 15
    assert _decibels(found, own[adapter]) > max(_decibels(found, own[other]) for other in own.keys() - {adapter}) + 6
    np.testing.assert_array_equal(_logits(_folder("int4", kind), adapter, prefill_threshold=1), found)


def test_a_folder_without_them_answers_as_one_that_never_had_the_graph():
    plain = _logits(small_bundle(recipe="int4"))
    for choice in ("stored", "off"):
        np.testing.assert_array_equal(_logits(_folder(), prefill=choice), plain)
    assert kept() == []


def test_they_are_derived_once_prompts_have_paid_for_them(monkeypatch: pytest.MonkeyPatch, caplog: Any):
    """One long prompt must not write gigabytes; the prompts of earlier processes count."""
    monkeypatch.setattr("edgephi.decoder.crossover.LEAST_MEASURED", 100)
    monkeypatch.setattr(prefill_weights, "PAYS_FROM", 450)
    there = []
    for _ in range(4):  # stretches of 197 positions, each in a process of its own
        _logits(_folder())
        there.append(_derived().is_there)
    assert there == [False, False, True, True]
    assert [record.levelname for record in caplog.records if "deriving" in record.message] == ["WARNING"]
    assert "--prefill stored" in caplog.text
    _logits(_folder(), prefill="off")
    assert _derived().is_there


def test_prompts_that_are_too_short_do_not_count(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(prefill_weights, "PAYS_FROM", 1)
    _logits(_folder())
    assert kept() == []


def _is_refused(caplog: Any, words: str) -> None:
    """Two prompts of one process are answered by the decoder's own graph; it is said once, and nothing is left."""
    options = SamplingOptions(max_new_tokens=4, temperature=0.0)
    with Model.load(small_bundle(recipe="int4"), threads=1) as model:
        expected = model.generate(TEXT, options=options).token_ids
    with Model.load(_folder(), threads=1, prefill_threshold=16, cache_bytes=0) as model:
        assert [model.generate(TEXT, options=options).token_ids for _ in range(2)] == [expected] * 2
    notes = [record.message for record in caplog.records if "are not derived" in record.message]
    assert len(notes) == 1
    assert words in notes[0]
    assert kept() == []


def test_a_machine_without_free_memory_derives_none(monkeypatch: pytest.MonkeyPatch, caplog: Any):
    memory = Memory(total_bytes=1 << 20, available_bytes=1 << 20, limit_bytes=None)
    room = Headroom(memory=memory, swap_bytes=0, address_bytes=None)
    monkeypatch.setattr(prefill_weights, "headroom", lambda: room)
    _is_refused(caplog, "--prefill off")


def test_a_disk_without_room_gets_none(monkeypatch: pytest.MonkeyPatch, caplog: Any):
    monkeypatch.setattr(derived_folder, "SPARE_BYTES", 1 << 60)
    _is_refused(caplog, "the disk has")


def test_a_disk_that_fills_up_keeps_nothing(monkeypatch: pytest.MonkeyPatch, caplog: Any, cache: Path):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    _is_refused(caplog, "the disk filled up")
    assert [path.name for path in cache.iterdir()] == [".lock"]


def test_a_home_that_cannot_be_written_is_no_error(caplog: Any, cache: Path):
    cache.parent.parent.mkdir(parents=True)
    cache.parent.write_text("a file, where the folder should be")
    _is_refused(caplog, "cannot be written")


def test_a_stop_leaves_nothing_and_the_next_prompt_derives_them(cache: Path):
    left = iter(range(1))
    with pytest.raises(Stopped):
        _derived().make(threads=1, should_stop=lambda: next(left, None) is None)
    assert [path.name for path in cache.iterdir()] == [".lock"]
    assert _derived().make(threads=1, should_stop=never)
    assert _derived().is_there


def test_while_another_process_derives_them_prompts_do_not_wait(cache: Path, caplog: Any):
    cache.mkdir(parents=True)
    with (cache / ".lock").open("wb") as lock:
        lock_alone(lock, "nobody else has it")
        np.testing.assert_array_equal(_logits(_folder(), prefill_threshold=1), _logits(_folder(), prefill="off"))
    assert "are not derived" not in caplog.text
    _logits(_folder(), prefill_threshold=1)
    assert _derived().is_there


def test_a_file_that_was_cut_off_is_derived_again():
    folder = _derived()
    assert folder.make(threads=1, should_stop=never)
    path = folder.path / "weights/prefill.bin"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert not folder.is_there
    assert folder.make(threads=1, should_stop=never)
    assert path.read_bytes() == whole


def test_those_of_a_former_content_of_the_folder_are_deleted(tmp_path: Path):
    """A model that is exported again each week must not fill the disk."""
    place = tmp_path / "model"
    for recipe in ("int4", "int8"):
        shutil.rmtree(place, ignore_errors=True)
        copy_bundle(_folder(recipe), place)
        assert _derived(place).make(threads=1, should_stop=never)
    assert [path for path, _ in kept()] == [_derived(place).path]
    assert _derived(place).path != _derived().path


def test_what_the_manifest_records_later_does_not_derive_them_again(tmp_path: Path):
    place = copy_bundle(_folder(), tmp_path / "model")
    before = _derived(place).path
    manifest = dataclasses.replace(Bundle(place).manifest, generator="another")
    (place / "edgephi.json").write_text(manifest.to_json(), encoding="utf-8")
    assert _derived(place).path == before


def test_a_linear_that_is_not_stored_by_rows_is_the_decoders_own(tmp_path: Path):
    """One beyond the gate for outliers: blocks, at no byte more."""
    options = ExportOptions(recipe="int4", prefill="derived", overrides=("prefill.*.down_proj*=int8:32",))
    path = export(small_checkpoint().path, tmp_path / "m", options)
    folder = _derived(path)
    assert not [tensor.name for tensor in folder.index.tensors if "down_proj" in tensor.name]
    names = {constant.name for constant in folder.index.constants}
    assert {"layers.0.mlp.down_proj.weight", "prefill.layers.0.self_attn.o_proj.weight"} <= names
    for adapter in ADAPTER_IDS:
        own = _logits(path, adapter, prefill="off")
        assert _decibels(_logits(path, adapter, prefill_threshold=1), own) > 15


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("weights/prefill.bin", "weights/decoder.bin", "cannot be derived"),
        ("weights/prefill.bin", "../prefill.bin", "cannot be derived"),
        ('"prefill.layers.0.self_attn.o_proj"', '"prefill.layers.9.self_attn.o_proj"', "cannot be derived from"),
        ("prefill.layers.0.mlp.gate_up_proj.up", "prefill.layers.0.self_attn.o_proj.up", "another number"),
    ],
)
def test_an_index_that_cannot_be_right_is_refused(tmp_path: Path, old: str, new: str, words: str, cache: Path):
    """Before anything is written outside the cache, or a prompt is read with other weights."""
    place = copy_bundle(_folder(), tmp_path / "model")
    text = (place / "prefill.json").read_text(encoding="utf-8")
    assert old in text
    put(place, "prefill.json", text.replace(old, new).encode())
    with pytest.raises(ArtifactError, match=words):
        _derived(place).make(threads=1, should_stop=never)
    assert not cache.exists() or [path.name for path in cache.iterdir()] == [".lock"]


def test_room_is_asked_for_the_weights_and_some_spare(monkeypatch: pytest.MonkeyPatch):
    asked = []

    def check(output: Path, needed: int, **words: str) -> None:
        asked.append(needed)
        check_space(output, needed, **words)

    monkeypatch.setattr(derived_folder, "check_space", check)
    folder = _derived()
    assert folder.make(threads=1, should_stop=never)
    sizes = sum(path.stat().st_size for path in folder.path.rglob("*.bin"))
    assert asked == [sizes + (1 << 30)] == [folder.num_bytes + (1 << 30)]
    monkeypatch.setattr(derived_folder, "SPARE_BYTES", 1 << 60)
    shutil.rmtree(folder.path)
    with pytest.raises(CapacityError, match="deriving weights needs"):
        folder.make(threads=1, should_stop=never)
