"""The processors of onnxruntime-genai, set up by our files, beside edgephi's own reading of images.

At the public model's crops of 448 pixels, the only ones that the library counts the rows of.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgephi.images.crops import num_image_rows, split_views
from edgephi.images.features import ImageFeatures
from edgephi_export import ExportOptions, export
from edgephi_export.layouts.genai.processors import vision_processor
from edgephi_export.runtimes.genai_tensors import image_tensors
from support.checkpoints import write_checkpoint
from support.genai_pipeline import open_graph, run_graph
from support.signals import random_image
from support.sizes import SMALL

pytestmark = pytest.mark.genai

CROP, CROPS = 448, 36
#: Of each, the processor's tensors are run through vision.onnx.
SIZES = ((300, 200), (448, 448), (700, 500), (450, 1000), (1500, 460))
MORE_SIZES = ((448, 449), (896, 896), (1000, 700), (97, 613), (1920, 1080))


@pytest.fixture(scope="module")
def processor(og: ModuleType, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Of nano's folder, with the public model's crops."""
    folder = tmp_path_factory.mktemp("processor") / "genai"
    export(checkpoint, folder, ExportOptions(recipe="int4-fast", layout="genai"))
    (folder / "vision_processor.json").write_text(vision_processor(CROP, CROPS))
    return og.Model(str(folder)).create_multimodal_processor()


@pytest.fixture(scope="module")
def vision(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """vision.onnx of a small tower with crops of 448 pixels."""
    folder = tmp_path_factory.mktemp("448")
    source = write_checkpoint(folder / "checkpoint", sizes=replace(SMALL, crop=CROP)).path
    options = ExportOptions(recipe="fp32", layout="genai", modalities=("text", "vision"))
    return open_graph(export(source, folder / "genai", options) / "vision.onnx")


def _written(folder: Path, size: tuple[int, int]) -> Path:
    path = folder / "image.png"
    Image.fromarray(random_image(str(size), *size)).save(path)
    return path


def _features(path: Path) -> ImageFeatures:
    views = split_views(Image.open(path).convert("RGB"), crop_size=CROP, patch_size=14, max_crops=CROPS)
    return ImageFeatures(views, num_image_rows(views))


def _read(og: ModuleType, processor: Any, path: Path) -> dict[str, Any]:
    inputs = processor("<|user|><|image_1|>What?<|end|><|assistant|>", images=og.Images.open(str(path)))
    names = ("pixel_values", "image_attention_mask", "image_sizes", "num_image_tokens")
    return {name: np.array(inputs[name].as_numpy()) for name in names}


@pytest.mark.parametrize("size", SIZES)
def test_images_cut_by_the_library_give_edgephis_rows(
    og: ModuleType, processor: Any, vision: Any, tmp_path: Path, size: tuple[int, int]
):
    """Tiles bit by bit; the overview is another one there, and made anew in the graph."""
    path = _written(tmp_path, size)
    given, own = _read(og, processor, path), image_tensors([_features(path)])
    np.testing.assert_allclose(given["pixel_values"][:, 1:], own["pixel_values"][:, 1:], atol=2e-7)  # a bit of float32
    np.testing.assert_array_equal(given["image_attention_mask"], own["image_attention_mask"])
    got, expected = (run_graph(vision, tensors)["image_features"] for tensors in (given, own))
    assert len(got) == given["num_image_tokens"].sum() == own["num_image_tokens"].sum()
    assert np.abs(got - expected).max() / expected.std() < 1e-5


@pytest.mark.parametrize("size", MORE_SIZES)
def test_the_library_counts_the_rows_that_the_graph_gives(
    og: ModuleType, processor: Any, tmp_path: Path, size: tuple[int, int]
):
    path = _written(tmp_path, size)
    assert _read(og, processor, path)["num_image_tokens"].ravel().tolist() == [_features(path).num_rows]


def test_fewer_crops_are_cut_where_fewer_were_asked_for(og: ModuleType, checkpoint: Path, tmp_path: Path):
    folder = export(checkpoint, tmp_path / "m", ExportOptions(recipe="int4-fast", layout="genai", max_crops=2))
    processor = og.Model(str(folder)).create_multimodal_processor()
    pixels = _read(og, processor, _written(tmp_path, (1000, 300)))["pixel_values"]
    assert pixels.shape[1] <= 3
