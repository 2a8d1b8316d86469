"""A folder for onnxruntime-genai that takes images and audio, run graph by graph as that library runs it.

Each request must get the logits that edgephi's own runtime gives it: right rows, right adapter, right projection.
"""

from __future__ import annotations

import functools
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from edgephi import Model
from edgephi.audio.features import AudioFeatures
from edgephi.base.errors import ArtifactError, ConfigError
from edgephi.images.crops import num_image_rows, split_views
from edgephi.images.features import ImageFeatures
from edgephi_export import ExportOptions, export
from edgephi_export.layouts.genai.slots import AUDIO_SLOT, IMAGE_SLOT
from edgephi_export.runtimes.genai_tensors import image_tensors, request_tensors
from support.bundles import small_bundle, small_checkpoint
from support.cases import AUDIO, IMAGE, words
from support.genai_pipeline import GenaiPipeline, open_graph, run_graph
from support.random_values import uniform
from support.signals import random_image

HEAD, TAIL = words("before", 4), words("after", 5)
WIDE, TALL, SMALL = (200, 100), (90, 230), (50, 40)


@functools.cache
def _folder(modalities: tuple[str, ...] | None = None, adapters: str | None = None) -> Path:
    options = ExportOptions(layout="genai", recipe="fp32", modalities=modalities, adapters=adapters)
    out = small_bundle().parent / f"genai-{adapters}-{'-'.join(modalities or ())}"
    return export(small_checkpoint().path, out, options)


def _image(size: tuple[int, int]) -> ImageFeatures:
    image = Image.fromarray(random_image(str(size), *size))
    views = split_views(image, crop_size=56, patch_size=14, max_crops=36)
    return ImageFeatures(views, num_image_rows(views))


def _audio(frames: int) -> AudioFeatures:
    mel = np.abs(uniform(f"mel {frames}", 1, (frames, 80)) * 12).astype(np.float32)
    return AudioFeatures(mel, -(-frames // 8))


REQUESTS: dict[str, tuple[tuple[ImageFeatures, ...], tuple[AudioFeatures, ...]]] = {
    "text": ((), ()),
    "an image": ((_image(WIDE),), ()),
    "images of different sizes": ((_image(SMALL), _image(TALL), _image(WIDE)), ()),
    "audio": ((), (_audio(57),)),
    "recordings, long and short": ((), (_audio(30), _audio(4100), _audio(8))),
    "an image and audio": ((_image(TALL),), (_audio(41),)),
}


def _ids(images: tuple[Any, ...], audio: tuple[Any, ...]) -> tuple[int, ...]:
    return (*HEAD, *[IMAGE] * len(images), *[AUDIO] * len(audio), *TAIL)


@pytest.fixture(scope="module")
def model() -> Model:
    with Model.load(small_bundle()) as opened:
        yield opened


def _expected(model: Model, ids: tuple[int, ...], images: Any, audio: Any) -> NDArray[np.float32]:
    return model.logits(ids, images=images, audio=audio)


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_gets_edgephis_logits_and_keeps_its_adapter(model: Model, name: str):
    """The second and third token are read without any slot: the adapter is known from the prompt alone."""
    images, audio = REQUESTS[name]
    pipeline, ids = GenaiPipeline(_folder()), _ids(images, audio)
    got = pipeline.start(request_tensors(ids, images, audio, model.manifest.tokens))
    np.testing.assert_allclose(got, _expected(model, ids, images, audio), atol=2e-4)
    for token in words("more", 2):
        ids = (*ids, token)
        np.testing.assert_allclose(pipeline.append(token), _expected(model, ids, images, audio), atol=2e-4)


def test_every_mode_has_an_adapter_of_its_own():
    """Otherwise the comparison above would hold for a graph that has one adapter for all."""
    logits = {name: GenaiPipeline(_folder()).start(_tensors(name)) for name in ("text", "an image", "audio")}
    off = _without_switch()
    for name, with_adapter in logits.items():
        without = GenaiPipeline(off).start(_tensors(name))
        assert (np.abs(with_adapter - without).max() < 1e-5) == (name == "text")


def _tensors(name: str) -> dict[str, Any]:
    images, audio = REQUESTS[name]
    with Model.load(small_bundle()) as model:
        return request_tensors(_ids(images, audio), images, audio, model.manifest.tokens)


@functools.cache
def _without_switch() -> Path:
    """The same folder with a decoder that looks for slots of other ids."""
    folder = small_bundle().parent / "genai-without-switch"
    shutil.copytree(_folder(), folder)
    path = folder / "model.onnx"
    data = path.read_bytes()
    for slot in (IMAGE_SLOT, AUDIO_SLOT):
        raw = np.int64(slot).tobytes()
        assert data.count(raw) == 1
        data = data.replace(raw, np.int64(slot + 1000).tobytes())
    path.write_bytes(data)
    return folder


@pytest.mark.parametrize("sizes", [[WIDE], [TALL, SMALL], [(60, 60), (1000, 30), (130, 170)]])
def test_the_overview_is_computed_from_the_tiles(sizes: list[tuple[int, int]]):
    """The library's processor shrinks it in another way; what it gives as the overview must not matter."""
    session = open_graph(_folder() / "vision.onnx")
    tensors = image_tensors([_image(size) for size in sizes])
    ours = run_graph(session, tensors)["image_features"]
    tensors["pixel_values"][:, 0] = 7.0
    np.testing.assert_array_equal(run_graph(session, tensors)["image_features"], ours)
    tensors["pixel_values"][:, 1] = 0.3
    assert np.abs(run_graph(session, tensors)["image_features"] - ours).max() > 1e-3


def test_one_modality_leaves_the_others_out():
    speech, vision = _folder(("text", "speech")), _folder(("text", "vision"))
    assert not (vision / "speech.onnx").exists()
    config = json.loads((vision / "genai_config.json").read_text())["model"]
    assert config["speech"] == {"filename": "", "config_filename": ""}  # the library would look for speech.onnx
    assert "audio_features" not in config["embedding"]["inputs"]
    with pytest.raises(Exception, match="this folder takes no images: export the model with --adapters routed"):
        run_graph(open_graph(speech / "vision.onnx"), _public_image())
    refused = {**_tensors("audio"), "audio_projection_mode": np.array([3], np.int64)}
    with pytest.raises(Exception, match="this folder takes audio only without an image"):
        run_graph(open_graph(speech / "speech.onnx"), refused)


def _public_image() -> dict[str, Any]:
    return {
        "pixel_values": np.zeros((1, 2, 3, 448, 448), np.float32),
        "image_attention_mask": np.ones((1, 2, 32, 32), np.float32),
        "image_sizes": np.array([[448, 448]], np.int64),
    }


@pytest.mark.parametrize(("adapter", "name"), [("speech", "audio"), ("vision", "an image and audio")])
def test_a_merged_adapter_needs_no_switch(adapter: str, name: str):
    folder, (images, audio) = _folder(adapters=adapter), REQUESTS[name]
    pipeline, ids = GenaiPipeline(folder), _ids(images, audio)
    with Model.load(small_bundle(adapters=adapter)) as merged:
        got = pipeline.start(request_tensors(ids, images, audio, merged.manifest.tokens))
        np.testing.assert_allclose(got, _expected(merged, ids, images, audio), atol=2e-4)
    inputs = {value.name for value in open_graph(folder / "model.onnx").get_inputs()}
    assert not any("state" in name or name == "input_ids" for name in inputs)


def test_every_file_says_what_it_is():
    folder = _folder()
    names = {path.name for path in folder.iterdir() if path.is_file()}
    assert names == {
        "genai_config.json", "model.onnx", "embedding.onnx", "vision.onnx", "speech.onnx", "vision_processor.json",
        "speech_processor.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja",
        "inference_model.json", "edgephi_export.json", "README.md",
    }  # fmt: skip
    speech = json.loads((folder / "speech_processor.json").read_text())["feature_extraction"]["sequence"]
    assert speech[0]["operation"]["attrs"]["max_samples"] == 0  # otherwise all after 30 s is dropped
    slots = {
        token["content"]: token["id"] for token in json.loads((folder / "tokenizer.json").read_text())["added_tokens"]
    }
    assert (slots["<|endoftext10|>"], slots["<|endoftext11|>"]) == (IMAGE_SLOT, AUDIO_SLOT)
    assert json.loads((folder / "inference_model.json").read_text())["Name"].endswith("-fp32:0")
    text = (folder / "README.md").read_text()
    for text_of_it in ("max_length", "WebP and BMP end the whole process", "More than two channels", "set_inputs"):
        assert text_of_it in text


def test_fewer_crops_can_be_asked_for(tmp_path: Path):
    source = small_checkpoint().path
    folder = export(source, tmp_path / "out", ExportOptions(layout="genai", recipe="int4", max_crops=5))
    cut = json.loads((folder / "vision_processor.json").read_text())["processor"]["transforms"][1]["operation"]
    assert cut["attrs"]["dynamic_hd"] == 5
    for options, message in (
        ({"layout": "genai", "max_crops": 37}, "--max-crops is 37; this model cuts an image into 1 to 36 crops"),
        ({"layout": "genai", "max_crops": 4, "modalities": ("text", "speech")}, "this export takes no images"),
        ({"max_crops": 4}, "--max-crops 4 is for --layout genai"),
        ({"layout": "genai", "kv_cache": "int8"}, "--kv-cache int8 is for edgephi's own layout"),
        ({"layout": "genai", "prefill": "int8"}, "--prefill int8 is for edgephi's own layout"),
    ):
        with pytest.raises(ConfigError, match=message):
            export(source, tmp_path / "no", ExportOptions(**options))
        assert not (tmp_path / "no").exists()


def test_slots_of_another_spelling_are_refused(tmp_path: Path):
    """The library writes its own spelling into the prompt; the model would get no media, and no error."""
    source = Path(shutil.copytree(small_checkpoint().path, tmp_path / "checkpoint"))
    path = source / "tokenizer.json"
    path.write_text(path.read_text().replace("<|endoftext10|>", "<|image_slot|>"))
    with pytest.raises(ArtifactError, match="onnxruntime-genai knows only '<|endoftext10|>'".replace("|", r"\|")):
        export(source, tmp_path / "out", ExportOptions(layout="genai", recipe="fp32"))
