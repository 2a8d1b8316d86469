"""Text must not cost the memory of adapters, and nobody must notice in the answers which graph gave them."""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgephi import ArtifactError, Model, SamplingOptions
from edgephi.bundle.bundle import Bundle
from edgephi.decoder.decoder import Decoder
from edgephi.decoder.embedding_table import EmbeddingTable
from edgephi.model_options import ModelOptions
from edgephi.ort.session import DeviceOptions, open_session
from edgephi.prompt.input_sequence import InputSequence
from support.bundles import copy_bundle, small_bundle
from support.media_files import write_recording
from support.shell import invoke
from support.signals import random_audio, random_image

TEXT, FULL = "decoder_text.onnx", "decoder.onnx"
IDS = list(range(30, 50))
IMAGE = random_image("graphs", 90, 60)
AUDIO = (random_audio("graphs", 0.8, 16000), 16000)
FEW = SamplingOptions(max_new_tokens=4, temperature=0.0)


class Spy:
    """Opens sessions, and remembers which and how many decoders were alive each time."""

    def __init__(self) -> None:
        self.opened: list[str] = []
        self.alive: list[int] = []
        self._decoders: list[weakref.ref[Any]] = []

    def __call__(self, path: Path, options: DeviceOptions, *more: Any, **named: Any) -> Any:
        self.opened.append(path.name)
        self.alive.append(sum(ref() is not None for ref in self._decoders))
        session = open_session(path, options, *more, **named)
        if path.name in (TEXT, FULL):
            self._decoders.append(weakref.ref(session))
        return session


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch) -> Spy:
    opener = Spy()
    monkeypatch.setattr("edgephi.decoder.graph.open_session", opener)
    monkeypatch.setattr("edgephi.media.processor.open_session", opener)
    return opener


def _load(bundle: Path | None = None, *, with_adapters: bool = False) -> Model:
    return Model.load(bundle or small_bundle(), threads=1, with_adapters=with_adapters)


def test_text_opens_the_graph_without_adapters_and_nothing_else(spy: Spy):
    with _load() as model:
        model.generate("hello", options=FEW)
        model.logits(IDS)
        model.generate("more", options=FEW, adapter="none")
    assert spy.opened == [TEXT]


def test_media_change_the_graph_once_and_the_old_one_is_freed_first(spy: Spy):
    """Both at once would need more memory than the larger one, which is what a device was bought for."""
    with _load() as model:
        model.generate("hello", options=FEW)
        model.generate("hello", audio=[AUDIO], options=FEW)
        model.generate("hello", options=FEW)
        model.generate("hello", images=[IMAGE], options=FEW)
    assert spy.opened == [TEXT, FULL, "speech.onnx", "vision.onnx"]
    assert spy.alive == [0, 0, 1, 1]


def test_a_long_requests_memory_is_free_before_another_graph_is_opened(spy: Spy, monkeypatch: pytest.MonkeyPatch):
    capacities = []
    with Model.load(small_bundle(), threads=1, cache_bytes=0) as model:
        decoder = model._decoder
        assert decoder is not None
        model.logits([5] * 600)

        def observed(path: Path, options: DeviceOptions, *more: Any, **named: Any) -> Any:
            capacities.append(decoder.sequences.num_bytes // decoder.limit.shape.bytes_per_position)
            return open_session(path, options, *more, **named)

        for place in ("decoder.graph", "media.processor"):
            monkeypatch.setattr(f"edgephi.{place}.open_session", observed)
        model.generate("hello", audio=[AUDIO], options=FEW)
    assert capacities == [256, 256]


def test_a_model_loaded_with_adapters_never_opens_the_other_graph(spy: Spy):
    with _load(with_adapters=True) as model:
        model.generate("hello", options=FEW)
        model.generate("hello", audio=[AUDIO], options=FEW)
    assert spy.opened == [FULL, "speech.onnx"]


@pytest.mark.parametrize(("adapter", "opened"), [("speech", [TEXT, FULL]), ("none", [TEXT])])
def test_a_forced_adapter_decides_by_itself(spy: Spy, adapter: str, opened: list[str]):
    with _load() as model:
        model.generate("hello", options=FEW, adapter=adapter)  # type: ignore[arg-type]
        assert spy.opened == opened
        model.logits(IDS, adapter="none")
        assert spy.opened == opened


def test_a_merged_model_has_one_graph(spy: Spy):
    with _load(small_bundle(adapters="speech", modalities=("text", "speech"))) as model:
        model.generate("hello", audio=[AUDIO], options=FEW)
    assert spy.opened == [FULL, "speech.onnx"]


# In float16 the CPU provider keeps other values in float32 where there are branches.
@pytest.mark.parametrize(("recipe", "close"), [("fp32", 1e-5), ("int8", 1e-5), ("int4", 1e-5), ("fp16", 2e-3)])
def test_both_graphs_give_the_same_logits_for_text(recipe: str, close: float):
    bundle = small_bundle(recipe=recipe)
    with _load(bundle) as light, _load(bundle, with_adapters=True) as full:
        expected = full.logits(IDS, rows="all")
        np.testing.assert_allclose(light.logits(IDS, rows="all"), expected, atol=close * np.abs(expected).max())
        light.logits(IDS, adapter="vision")
        np.testing.assert_array_equal(light.logits(IDS, rows="all"), expected)


def test_a_conversation_across_the_change_equals_fresh_models():
    """Text, then an image, then text again: each reply is that of a model loaded for it alone."""
    talk: list[dict[str, Any]] = [{"role": "user", "content": "hello"}]
    turns: list[dict[str, Any]] = [{}, {"images": [IMAGE]}, {"images": [IMAGE]}]
    with _load() as model:
        for media in turns:
            reply = model.generate(talk, **media, options=FEW)
            with _load() as fresh:
                assert fresh.generate(talk, **media, options=FEW).token_ids == reply.token_ids
            talk += [{"role": "assistant", "content": "yes"}, {"role": "user", "content": "and then?"}]


def test_what_was_read_with_one_graph_continues_with_the_other():
    bundle = Bundle(small_bundle())
    table = EmbeddingTable(bundle, bundle.manifest.decoder.embedding)
    logits = []
    for change in (False, True):
        decoder, sequence = Decoder(bundle, ModelOptions(threads=1)), InputSequence(table, np.array(IDS), {})
        decoder.forward(sequence, adapter="none")
        if change:
            decoder.load("speech")
        sequence.append(7)
        logits.append(decoder.forward(sequence, adapter="none").copy())
    np.testing.assert_allclose(logits[1], logits[0], atol=2e-5)


@pytest.fixture
def damaged(tmp_path: Path) -> Callable[[str], Path]:
    def damage(name: str) -> Path:
        folder = copy_bundle(small_bundle(), tmp_path / "m")
        (folder / name).write_bytes(bytes((folder / name).stat().st_size))
        return folder

    return damage


def test_a_damaged_graph_with_adapters_leaves_text_answered(damaged: Callable[[str], Path], spy: Spy):
    folder = damaged(FULL)
    with _load() as whole, _load(folder) as model:
        expected = whole.generate("hello", options=FEW).token_ids
        encoded = whole.generate("hello", audio=[AUDIO], options=FEW).token_ids
        for _ in range(2):  # the second time must fail as clearly as the first
            with pytest.raises(ArtifactError, match=r"/decoder\.onnx: content differs from the manifest"):
                model.generate("hello", audio=[AUDIO], options=FEW)
            assert model.generate("hello", options=FEW).token_ids == expected
        assert spy.opened.count("speech.onnx") == 1  # the whole model's: no clip is encoded in vain
        (folder / FULL).write_bytes((small_bundle() / FULL).read_bytes())
        assert model.generate("hello", audio=[AUDIO], options=FEW).token_ids == encoded


def test_a_damaged_graph_for_text_is_refused_at_once_unless_it_is_not_needed(damaged: Callable[[str], Path]):
    folder = damaged(TEXT)
    with pytest.raises(ArtifactError, match=r"/decoder_text\.onnx: content differs from the manifest"):
        _load(folder)
    with _load() as whole, _load(folder, with_adapters=True) as model:
        assert model.generate("hello", options=FEW).token_ids == whole.generate("hello", options=FEW).token_ids


def test_a_graph_of_another_dtype_than_the_manifests_is_refused():
    """Bindings would let it read float32 memory as float16."""
    bundle = Bundle(small_bundle())
    decoder = dataclasses.replace(bundle.manifest.decoder, dtype="float16")
    bundle.manifest = dataclasses.replace(bundle.manifest, decoder=decoder)
    for with_adapters in (False, True):
        with pytest.raises(ArtifactError, match=r"is a tensor\(float\), the manifest says float16; export"):
            Decoder(bundle, ModelOptions(threads=1, with_adapters=with_adapters))


@pytest.mark.parametrize(
    ("command", "opened"),
    [
        (["run", "MODEL", "hi"], [TEXT]),
        (["run", "MODEL", "hi", "--audio", "CLIP"], [FULL, "speech.onnx"]),
        (["run", "MODEL", "hi", "--audio", "CLIP", "--adapter", "none"], [TEXT, "speech.onnx"]),
        (["run", "MODEL", "hi", "--adapter", "vision"], [FULL]),
        (["transcribe", "MODEL", "CLIP"], [FULL, "speech.onnx"]),
    ],
)
def test_commands_open_the_graph_they_need_at_once(spy: Spy, tmp_path: Path, command: list[str], opened: list[str]):
    places = {"MODEL": str(small_bundle()), "CLIP": str(write_recording(tmp_path / "a.wav"))}
    words = [places.get(word, word) for word in command]
    done = invoke(*words, *(["--max-new-tokens", "2"] if words[0] == "run" else []), "--threads", "1")
    assert done.exit_code == 0, done.stderr
    assert spy.opened == opened
