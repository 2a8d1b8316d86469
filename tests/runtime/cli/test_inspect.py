"""`edgephi inspect`: what a folder is, without loading it."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from edgephi import Model
from edgephi.base.units import human_bytes, human_count
from edgephi.bundle.bundle import Bundle
from edgephi.bundle.tensor_index import StoredTensorInfo
from edgephi.bundle.tensor_ref import TensorRef
from edgephi.images.rates import ImageRateRecord
from edgephi.inspection.weights_summary import StorageSummary
from support.bundles import copy_bundle, put, small_bundle
from support.media_files import write_image
from support.shell import invoke, spawn


def test_people_see_what_is_in_the_folder():
    done = spawn("inspect", small_bundle())
    assert (done.returncode, done.stderr) == (0, "")
    for part in (
        "text, vision, speech",
        "routed: ",
        "vision (rank 8)",
        "speech (rank 12)",
        "fp32",
        "decoder.onnx",
        "total",
    ):
        assert part in done.stdout
    assert max(map(len, done.stdout.splitlines()[1:])) <= 80  # the folder's path aside
    assert "\x1b" not in done.stdout
    assert done.stdout == invoke("inspect", small_bundle()).stdout


def test_every_tensor_is_counted_once_where_it_belongs():
    """Someone who asks whether a model fits must get the bytes that are there, none twice and none left out."""
    folder = small_bundle(recipe="int4")
    facts = json.loads(invoke("inspect", folder, "--json").stdout)
    tensors = Bundle(folder).tensor_index().tensors
    parts = {part["name"]: part for part in facts["components"]}
    assert list(parts) == [
        "decoder", "embedding and head", "vision adapter", "speech adapter", "vision encoder", "speech encoder",
    ]  # fmt: skip
    for name, part in (("vision adapter", "adapter_vision"), ("speech encoder", "speech")):
        own = [tensor for tensor in tensors if tensor.part == part]
        assert parts[name]["tensors"] == len(own)
        assert parts[name]["weights"] == sum(math.prod(tensor.shape) for tensor in own)
        assert parts[name]["bytes"] == sum(tensor.num_bytes for tensor in own)
    assert parts["embedding and head"]["tensors"] == 1
    assert facts["weights"]["tensors"] == len(tensors) == sum(part["tensors"] for part in parts.values())
    stored = sum(file["bytes"] for file in facts["files"] if file["path"].startswith("weights/"))
    assert facts["weights"]["bytes"] <= stored <= facts["weights"]["bytes"] + 3 * 4096 * len(tensors)
    for part in parts.values():
        for key in ("tensors", "weights", "bytes"):
            assert part[key] == sum(form[key] for form in part["formats"])


def test_the_table_lists_each_format_of_a_component():
    folder = small_bundle(recipe="int4")
    facts = json.loads(invoke("inspect", folder, "--json").stdout)
    lines = invoke("inspect", folder).stdout.splitlines()
    start = lines.index(next(line for line in lines if line.startswith("component ")))
    rows = [line.split() for line in lines[start + 1 : lines.index("", start)]]
    (decoder,) = (part for part in facts["components"] if part["name"] == "decoder")
    assert decoder["format"] is None
    assert rows[0][:2] == ["decoder", "mixed"]
    for row, stored in zip(rows[1:], decoder["formats"], strict=False):
        assert row[:2] == [stored["format"], f"{stored['tensors']:,}"]
        assert f"{stored['bits_per_weight']:.2f}" in row
    assert any("int4" in stored["format"] for stored in decoder["formats"])


def test_the_recipe_and_its_rules_are_shown():
    folder = small_bundle(recipe="int4")
    recipe = json.loads(invoke("inspect", folder, "--json").stdout)["recipe"]
    shown = invoke("inspect", folder).stdout
    assert f"recipe    int4, codes by {recipe['method']}, activations {recipe['activations']}" in shown
    lines = [line.split()[-2:] for line in shown.splitlines()]
    for rule in recipe["rules"]:
        assert [rule["pattern"], rule["format"]] in lines


def test_a_folder_of_floats_has_no_codes():
    shown = invoke("inspect", small_bundle(recipe="fp32")).stdout
    assert "recipe    fp32, no codes, activations float32\n" in shown


def test_bits_per_weight_count_scales_and_zero_points():
    values = TensorRef(file="w", offset=0, dtype="uint8", shape=(4, 2, 16))
    scales = TensorRef(file="w", offset=0, dtype="float32", shape=(4, 2))
    points = TensorRef(file="w", offset=0, dtype="uint8", shape=(4, 1))
    tensor = StoredTensorInfo(
        name="x", part="decoder", format="int4:32", shape=(4, 64), values=values, scales=scales, zero_points=points
    )
    stored = StorageSummary(format="int4:32", num_tensors=1, num_weights=4 * 64, num_bytes=tensor.num_bytes)
    assert stored.bits_per_weight == 4 + 32 / 32 + 4 / 32


def test_a_damaged_tensor_index_is_refused(tmp_path: Path):
    folder = copy_bundle(small_bundle(), tmp_path / "m")
    put(folder, "tensors.json", b"{")
    done = invoke("inspect", folder)
    assert (done.exit_code, done.stdout) == (3, "")
    assert "tensors.json: not valid JSON" in done.stderr


def test_programs_get_the_same_as_json():
    folder = small_bundle()
    facts = json.loads(invoke("inspect", folder, "--json").stdout)
    assert facts["modalities"] == ["text", "vision", "speech"]
    assert facts["adapters"]["mode"] == "routed"
    assert facts["decoder"]["vocabulary"] == 400
    assert facts["context"] == {
        "positions": 131072,
        "long_factors_beyond": 4096,
        "cache_bytes_per_position": 1024,
        "int8_cache_bytes_per_position": None,
    }
    for file in facts["files"]:
        assert (folder / file["path"]).stat().st_size == file["bytes"]
    assert facts["total_bytes"] == sum(file["bytes"] for file in facts["files"])


def test_a_text_model_shows_text_only():
    facts = json.loads(invoke("inspect", small_bundle("phi3"), "--json").stdout)
    assert (facts["modalities"], facts["adapters"]["mode"]) == (["text"], "none")


def test_hashes_are_checked_on_request(tmp_path: Path):
    folder = copy_bundle(small_bundle(), tmp_path / "m")
    assert "checked" in invoke("inspect", folder, "--check-hashes").stdout
    template = folder / "chat_template.jinja"
    template.write_bytes(template.read_bytes()[::-1])
    assert invoke("inspect", folder).exit_code == 0
    done = invoke("inspect", folder, "--check-hashes")
    assert (done.exit_code, done.stdout) == (3, "")
    assert "chat_template.jinja: content differs" in done.stderr


@pytest.mark.parametrize(
    ("options", "columns", "rows"), [([], 2, 2), (["--max-crops", "1"], 1, 1), (["--detail", "low"], 1, 1)]
)
def test_an_image_is_forecast_with_the_positions_that_a_request_gets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], columns: int, rows: int
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder, image = small_bundle(), write_image(tmp_path / "page.png", 100, 60)
    done = invoke("inspect", folder, "--image", image, *options)
    assert (done.exit_code, done.stdout.count("\n")) == (0, 1)
    assert f"{columns}x{rows} crops" in done.stdout
    assert "encode unknown, prefill unknown" in done.stdout
    assert "no request with an image has taken" in done.stderr
    (facts,) = json.loads(invoke("inspect", folder, "--image", image, "--json", *options).stdout)["images"]
    assert facts["crops"] == {"columns": columns, "rows": rows}
    assert facts["expected_s"] == {"encode": None, "prefill": None, "total": None}
    with Model.load(folder) as model:
        limit = {"--max-crops": {"max_crops": 1}, "--detail": {"detail": "low"}}.get((options or [""])[0], {})
        assert model.prepare("what", images=[image], **limit).cost.image_tokens == facts["tokens"]


def test_seconds_are_forecast_from_what_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder, image = small_bundle(), write_image(tmp_path / "page.png", 56, 28)
    record = ImageRateRecord(Bundle(folder).manifest_sha256)
    record.add_encoding(10, 20.0)
    record.add_prefill(10, 40.0)
    (facts,) = json.loads(invoke("inspect", folder, "--image", image, "--json").stdout)["images"]
    assert facts["patches"] == 16 + 8  # the overview, and the upper half of the crop
    assert facts["expected_s"] == {
        "encode": 48.0,
        "prefill": 4.0 * facts["tokens"],
        "total": 48.0 + 4 * facts["tokens"],
    }
    done = invoke("inspect", folder, "--image", image)
    assert ("encode about 48 s" in done.stdout, done.stderr) == (True, "")


@pytest.mark.parametrize(
    ("layout", "options", "code", "words"),
    [
        ("native", ["--image", "nowhere.png"], 2, "nowhere.png"),
        ("native", ["--image", "page.png", "--max-crops", "99"], 2, "max_crops is 99; use 1 to 36"),
        ("phi3", ["--image", "page.png"], 2, "has no vision"),
    ],
)
def test_an_image_that_cannot_be_used_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str, options: list[str], code: int, words: str
):
    monkeypatch.chdir(tmp_path)
    write_image(tmp_path / "page.png", 56, 28)
    done = invoke("inspect", small_bundle(layout), *options)
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (code, "", 1)
    assert words in done.stderr


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path):
    done = invoke("inspect", tmp_path)
    assert done.exit_code == 3
    assert "not an edgephi model folder" in done.stderr


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (12_345_678, "12.3 MB"), (7.2e12, "7,200.0 GB")]
)
def test_sizes_are_readable(count: int, text: str):
    assert human_bytes(count) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (999, "999"), (1000, "1.00 k"), (197_000, "197 k"), (3.836e9, "3.84 G"), (9e13, "90,000 G")],
)
def test_counts_are_readable(count: int, text: str):
    assert human_count(count) == text
