"""The folder must explain itself: every file listed, every fact of the model in the manifest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from edgephi.bundle import Bundle
from edgephi_export import export
from edgephi_export.weights_file import ALIGNMENT_BYTES, WeightsFile
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
    again = Bundle(export(small_checkpoint("native").path, tmp_path / "again")).manifest
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
    assert {file.stem for file in path.glob("*.onnx")} == expected & {"decoder", "vision", "speech"}


def test_the_embedding_is_stored_once_and_readable_without_onnx():
    bundle, spec = Bundle(small_bundle("original")), small_checkpoint("native")
    table = load_file(spec.path / "model.safetensors")["model.embed_tokens.weight"]
    np.testing.assert_array_equal(bundle.tensor(bundle.manifest.decoder.embedding), table)
    data = bundle.file("weights/decoder.bin").read_bytes()
    assert data.count(table[7].tobytes()) == 1


def test_weights_start_at_page_boundaries(tmp_path: Path):
    with WeightsFile(tmp_path, "weights/x.bin") as file:
        first, second = file.append(np.ones(3, np.float32)), file.append(np.full((2, 2), 2, np.float32))
        empty = file.append(np.zeros((0, 4), np.float32))
        info = file.info()
    assert (first.offset, second.offset, empty.offset) == (0, ALIGNMENT_BYTES, 2 * ALIGNMENT_BYTES)
    assert info.bytes == (tmp_path / "weights/x.bin").stat().st_size
    data = np.fromfile(tmp_path / "weights/x.bin", np.float32)
    np.testing.assert_array_equal(data[ALIGNMENT_BYTES // 4 : ALIGNMENT_BYTES // 4 + 4], 2)


def test_blocks_that_do_not_add_up_are_our_own_bug(tmp_path: Path):
    with WeightsFile(tmp_path, "x.bin") as file, pytest.raises(ValueError, match=r"x\.bin: 8 bytes written for shape"):
        file.append_blocks((3,), [np.ones(2, np.float32)])


def test_a_transposed_view_is_written_row_by_row(tmp_path: Path):
    matrix = np.arange(6, dtype=np.float32).reshape(2, 3)
    with WeightsFile(tmp_path, "x.bin") as file:
        file.append(matrix.T)
    np.testing.assert_array_equal(np.fromfile(tmp_path / "x.bin", np.float32), matrix.T.reshape(-1))
