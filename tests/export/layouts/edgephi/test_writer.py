"""The folder must explain itself: every file listed, every fact of the model in the manifest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from edgephi.bundle.bundle import Bundle
from edgephi_export import ExportOptions, export
from support.bundles import small_bundle, small_checkpoint


@pytest.mark.parametrize("layout", ["native", "original", "phi3"])
def test_every_file_is_listed_and_intact(layout: str):
    path = small_bundle(layout)
    manifest = Bundle(path, check_hashes=True).manifest
    there = {file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()}
    assert there == {file.path for file in manifest.files} | {"edgephi.json"}
    assert (manifest.source.model_type, manifest.recipe.name) == (
        {"native": "phi4_multimodal", "original": "phi4mm", "phi3": "phi3"}[layout], "fp32",
    )  # fmt: skip
    assert manifest.source.id == small_checkpoint(layout).path.name  # a name, not a path of the maker's machine
    assert manifest.source.revision is None


def test_both_multimodal_layouts_give_the_same_files():
    """Byte for byte, the manifest aside: a user may take whichever layout is at hand."""
    native, original = (Bundle(small_bundle(layout)).manifest for layout in ("native", "original"))
    assert native.files == original.files
    assert native.vision == original.vision
    assert native.speech == original.speech
    assert native.tokens.image == original.tokens.image


def test_two_exports_are_the_same(tmp_path: Path):
    options = ExportOptions(recipe="fp32")
    again = Bundle(export(small_checkpoint("native").path, tmp_path / "again", options)).manifest
    assert again == Bundle(small_bundle("native")).manifest


@pytest.mark.parametrize(
    ("adapters", "modalities", "expected"),
    [
        (None, None, {"decoder", "vision", "speech", "adapter_vision", "adapter_speech"}),
        (None, ("text", "speech"), {"decoder", "speech", "adapter_speech"}),
        (None, ("text",), {"decoder"}),
        ("speech", None, {"decoder", "speech"}),
        ("vision", None, {"decoder", "vision", "speech"}),
        ("none", None, {"decoder"}),
    ],
)
def test_only_what_was_asked_for_is_written(
    adapters: str | None, modalities: tuple[str, ...] | None, expected: set[str]
):
    path = small_bundle("native", adapters, modalities)
    assert {file.stem for file in (path / "weights").iterdir()} == expected
    text = {"decoder_text"} if expected & {"adapter_vision", "adapter_speech"} else set()
    assert {file.stem for file in path.glob("*.onnx")} == expected & {"decoder", "vision", "speech"} | text


def test_the_embedding_is_stored_once_and_readable_without_onnx():
    bundle, spec = Bundle(small_bundle("original")), small_checkpoint("native")
    table = load_file(spec.path / "model.safetensors")["model.embed_tokens.weight"]
    np.testing.assert_array_equal(bundle.tensor(bundle.manifest.decoder.embedding.values), table)
    data = bundle.file("weights/decoder.bin").read_bytes()
    assert data.count(table[7].tobytes()) == 1
