"""A damaged, incomplete or foreign model folder must be refused by name before any session is made."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgephi.base.errors import ArtifactError, ConfigError
from edgephi.bundle.bundle import MANIFEST_NAME, Bundle, file_sha256
from edgephi.bundle.manifest import (
    AdaptersInfo,
    DecoderInfo,
    FileInfo,
    GenerationDefaults,
    Manifest,
    RecipeInfo,
    RopeInfo,
    RuleInfo,
    SourceInfo,
    TokenInfo,
    VisionInfo,
)
from edgephi.bundle.tensor_index import StoredTensorInfo, TensorIndex
from edgephi.bundle.tensor_ref import TableInfo, TensorRef
from support.bundles import described, put

EMBEDDING = np.arange(12, dtype=np.float32).reshape(6, 2)
EMBEDDING_REF = TensorRef(file="weights/decoder.bin", offset=4096, dtype="float32", shape=(6, 2))
NAMES = ["decoder.onnx", "tensors.json", "tokenizer.json", "chat_template.jinja", "weights/decoder.bin"]


def _manifest(files: tuple[FileInfo, ...]) -> Manifest:
    return Manifest(
        schema_version=3,
        generator="test",
        source=SourceInfo(id="x", revision=None, model_type="phi3", config_sha256="0"),
        recipe=RecipeInfo(
            name="fp32", method="rtn", activations="float32", rules=(RuleInfo(pattern="*", format="float32"),)
        ),
        adapters=AdaptersInfo(mode="none", available=()),
        rope=RopeInfo(
            rotary_dim=2, theta=1e4, original_max_positions=8, max_positions=16,
            short_factor=(1.0,), long_factor=(2.0,), attention_scale=1.0,
        ),
        decoder=DecoderInfo(
            graph="decoder.onnx", text_graph=None, dtype="float32",
            hidden_size=2, num_layers=1, num_heads=1, num_kv_heads=1, head_size=2, vocab_size=6,
            embedding=TableInfo(bits=32, block_size=None, values=EMBEDDING_REF, scales=None, zero_points=None),
        ),
        vision=None,
        speech=None,
        tokens=TokenInfo(bos=0, pad=0, eos=(0,), image=None, audio=None),
        generation=GenerationDefaults(),
        files=files,
    )  # fmt: skip


def _index(*names: str, ref: TensorRef = EMBEDDING_REF) -> str:
    tensors = [
        StoredTensorInfo(
            name=name, part="decoder", format="float32", shape=(6, 2), values=ref, scales=None, zero_points=None
        )
        for name in names
    ]
    return TensorIndex(tensors=tuple(tensors), constants=()).to_json()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder whose manifest is consistent; its graph is not a real one, since nothing here opens it."""
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights/decoder.bin").write_bytes(bytes(4096) + EMBEDDING.tobytes())
    for name in ("decoder.onnx", "tokenizer.json", "chat_template.jinja"):
        (tmp_path / name).write_text(name)
    (tmp_path / "tensors.json").write_text(_index("lm_head"))
    files = [FileInfo(path=n, bytes=(tmp_path / n).stat().st_size, sha256=file_sha256(tmp_path / n)) for n in NAMES]
    (tmp_path / MANIFEST_NAME).write_text(_manifest(tuple(files)).to_json())
    return tmp_path


def _edit(folder: Path, **changes: object) -> None:
    path = folder / MANIFEST_NAME
    path.write_text(json.dumps({**described(folder), **changes}))


def test_manifest_survives_the_round_trip(folder: Path):
    bundle = Bundle(folder, check_hashes=True)
    again = Manifest.from_json(bundle.manifest.to_json(), "again")
    assert again == bundle.manifest


def test_tensor_is_the_bytes_at_its_offset(folder: Path):
    bundle = Bundle(folder)
    np.testing.assert_array_equal(bundle.tensor(EMBEDDING_REF), EMBEDDING)
    np.testing.assert_array_equal(bundle.tensor(EMBEDDING_REF.rows(2, 4)), EMBEDDING[2:4])  # begins within a page


@pytest.mark.parametrize("name", NAMES)
def test_each_missing_or_shortened_file_is_named(folder: Path, name: str):
    path = folder / name
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    with pytest.raises(ArtifactError, match=f"{name}: .* bytes, the manifest says"):
        Bundle(folder)
    path.unlink()
    with pytest.raises(ArtifactError, match=f"{name}: missing"):
        Bundle(folder)


@pytest.mark.parametrize("name", NAMES)
def test_changed_content_of_the_same_size_fails_the_hash_check(folder: Path, name: str):
    path = folder / name
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    Bundle(folder)  # sizes alone cannot see it
    with pytest.raises(ArtifactError, match=f"{name}: content differs"):
        Bundle(folder, check_hashes=True)


def test_a_folder_that_is_no_bundle_says_how_to_make_one(tmp_path: Path):
    with pytest.raises(ArtifactError, match="no such model folder; make one with `edgephi export"):
        Bundle(tmp_path / "absent")
    with pytest.raises(ArtifactError, match=r"not an edgephi model folder \(no edgephi.json; it is empty\)"):
        Bundle(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "no schema_version"),
        ('{"schema_version": 99}', "schema version 99; this edgephi reads 2 and 3; it was made by a newer edgephi"),
        ('{"schema_version": 1}', "schema version 1; this edgephi reads 2 and 3; export the model again"),
        ('{"schema_version": 3}', "key 'generator' is missing"),
        ("[" * 100_000, "not valid JSON"),
        ('{"schema_version": ' + "9" * 5000 + "}", "not valid JSON"),
    ],
)
def test_a_foreign_manifest_is_refused(folder: Path, text: str, message: str):
    (folder / MANIFEST_NAME).write_text(text)
    with pytest.raises(ArtifactError, match=message):
        Bundle(folder)


def test_a_manifest_cannot_reach_outside_its_folder(folder: Path):
    for path in ("../secret", "/etc/passwd", "a/../../b", ""):
        _edit(folder, files=[{"path": path, "bytes": 1, "sha256": ""}])
        with pytest.raises(ArtifactError, match="not inside the model folder"):
            Bundle(folder)


def test_a_tensor_outside_its_file_is_refused(folder: Path):
    decoder = described(folder)["decoder"]
    decoder["embedding"]["values"]["offset"] = 4097
    _edit(folder, decoder=decoder)
    with pytest.raises(ArtifactError, match=r"shape \(6, 2\) leaves weights/decoder.bin"):
        Bundle(folder)


PACKED = {
    "bits": 8,
    "block_size": 16,
    "values": {"file": "weights/decoder.bin", "offset": 0, "dtype": "uint8", "shape": [6, 1, 16]},
    "scales": {"file": "weights/decoder.bin", "offset": 4096, "dtype": "float32", "shape": [6, 1]},
    "zero_points": {"file": "weights/decoder.bin", "offset": 4120, "dtype": "uint8", "shape": [6, 1]},
}


@pytest.mark.parametrize("part", ["values", "scales", "zero_points"])
def test_every_part_of_a_packed_table_must_lie_in_a_listed_file(folder: Path, part: str):
    decoder = described(folder)["decoder"]
    _edit(folder, decoder={**decoder, "embedding": PACKED})
    Bundle(folder)
    for change, match in (({"offset": 4150}, "leaves weights/decoder.bin"), ({"file": "x.bin"}, "x.bin is used but")):
        moved = {**PACKED, part: {**PACKED[part], **change}}  # type: ignore[dict-item]
        _edit(folder, decoder={**decoder, "embedding": moved})
        with pytest.raises(ArtifactError, match=match):
            Bundle(folder)


@pytest.mark.parametrize("key", ["graph", "text_graph"])
def test_a_graph_that_is_not_listed_is_refused(folder: Path, key: str):
    decoder = described(folder)["decoder"]
    decoder[key] = "other.onnx"
    _edit(folder, decoder=decoder, adapters={"mode": "routed", "available": []})
    with pytest.raises(ArtifactError, match=r"other\.onnx is used but not listed"):
        Bundle(folder)


@pytest.mark.parametrize("name", ["tensors.json", "tokenizer.json", "chat_template.jinja", "weights/decoder.bin"])
def test_a_file_that_every_model_needs_must_be_listed(folder: Path, name: str):
    files = described(folder)["files"]
    _edit(folder, files=[file for file in files if file["path"] != name])
    with pytest.raises(ArtifactError, match=f"{name} is used but not listed"):
        Bundle(folder)


def test_a_file_listed_twice_is_refused(folder: Path):
    """One of the two entries would never be checked."""
    files = described(folder)["files"]
    _edit(folder, files=[*files, {**files[1], "sha256": "0"}])
    with pytest.raises(ArtifactError, match=r"tensors.json is listed twice under files"):
        Bundle(folder)


def test_the_tensor_index_is_what_was_written(folder: Path):
    (tensor,) = Bundle(folder).tensor_index().tensors
    assert (tensor.name, tensor.values, tensor.num_bytes) == ("lm_head", EMBEDDING_REF, 48)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (_index("a", "b", "a"), "tensor a is listed twice"),
        (
            _index("a", ref=dataclasses.replace(EMBEDDING_REF, offset=4097)),  # a byte too far
            r"shape \(6, 2\) leaves weights/decoder.bin",
        ),
        (_index("a", ref=dataclasses.replace(EMBEDDING_REF, file="no.bin")), "no.bin is used but not listed"),
        ("{", "not valid JSON"),
        ('{"tensors": [{"name": "a"}]}', "'part' is missing"),
    ],
)
def test_a_damaged_tensor_index_is_refused(folder: Path, text: str, message: str):
    put(folder, "tensors.json", text.encode())
    bundle = Bundle(folder)
    with pytest.raises(ArtifactError, match=rf"tensors\.json: .*{message}|tensors\.json.*{message}"):
        bundle.tensor_index()


def test_every_changed_file_is_found_and_the_reading_is_reported(folder: Path):
    """After a bad copy all that must be copied again should be known at once."""
    bundle, read = Bundle(folder), []
    assert bundle.changed_files(read.append) == []
    assert sum(read) == sum(info.bytes for info in bundle.manifest.files)
    for name in ("tokenizer.json", "weights/decoder.bin"):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(bytes([content[0] ^ 1]) + content[1:])
    assert [info.path for info in Bundle(folder).changed_files()] == ["tokenizer.json", "weights/decoder.bin"]


@pytest.mark.parametrize("dtype", ["float16", "float32", "uint8", "int8"])
def test_a_tensor_of_every_dtype_is_mapped_as_it_is(folder: Path, dtype: Any):
    stored = np.frombuffer(EMBEDDING.tobytes(), dtype)
    found = Bundle(folder).tensor(dataclasses.replace(EMBEDDING_REF, dtype=dtype, shape=stored.shape))
    assert (found.dtype, found.flags.writeable) == (np.dtype(dtype), False)
    assert found.tobytes() == EMBEDDING.tobytes()


def test_a_file_that_cannot_be_opened_is_not_called_missing(folder: Path, monkeypatch: pytest.MonkeyPatch):
    opened = os.open

    def guarded(path: str, *arguments: Any, **options: Any) -> int:
        if str(path).endswith("tokenizer.json"):
            raise PermissionError(13, "Permission denied")
        return opened(path, *arguments, **options)

    monkeypatch.setattr("os.open", guarded)
    monkeypatch.setattr("os.supports_dir_fd", {*os.supports_dir_fd, guarded})
    with pytest.raises(ArtifactError, match=r"tokenizer.json: cannot be read \(no permission\)"):
        Bundle(folder)


@pytest.mark.parametrize("function", ["open", "pread"])
def test_a_failing_disk_is_one_line_that_names_the_path(folder: Path, monkeypatch: pytest.MonkeyPatch, function: str):
    def fail(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, function, fail)
    with pytest.raises(ArtifactError, match=r"^/.*: cannot be read \(Input/output error\)$"):
        Bundle(folder, check_hashes=True)


def test_a_pipe_in_place_of_a_file_is_not_waited_for(folder: Path):
    (folder / "tokenizer.json").unlink()
    os.mkfifo(folder / "tokenizer.json")
    with pytest.raises(ArtifactError, match=r"tokenizer\.json: missing"):
        Bundle(folder)


def test_a_folder_named_from_here_is_still_found_from_elsewhere(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A graph that only media need is opened long after the folder."""
    monkeypatch.chdir(folder.parent)
    bundle = Bundle(folder.name)
    monkeypatch.chdir(tmp_path.root)
    assert bundle.file("decoder.onnx").is_file()
    np.testing.assert_array_equal(bundle.tensor(EMBEDDING_REF), EMBEDDING)


def test_unusable_paths_are_refused():
    with pytest.raises(ConfigError, match="path of the model folder is empty"):
        Bundle("")
    with pytest.raises(ArtifactError, match=r"cannot be read \(File name too long\)"):
        Bundle("x" * 5000)


FLOATS = dataclasses.asdict(EMBEDDING_REF)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ({"decoder": {"head_size": 0}}, "head_size is 0; it must be a positive number"),
        (
            {"decoder": {"vocab_size": 7}},
            r"embedding's values are float32 \[6, 2\]; the other sizes need float32 \[7, 2\]",
        ),
        ({"decoder": {"dtype": "bfloat16"}}, "'bfloat16' is not one of float32, float16"),
        ({"decoder": {"text_graph": "text.onnx"}}, "adapters are none, so there is no second graph"),
        ({"decoder": {"embedding": {"bits": 16}}}, r"float32 \[6, 2\]; the other sizes need float16 \[6, 2\]"),
        ({"decoder": {"embedding": {"bits": 8, "block_size": 24}}}, "8 bits in blocks of 24 is not known"),
        ({"decoder": {"embedding": {**PACKED, "scales": None}}}, "embedding's scales are missing"),
        (
            {"decoder": {"embedding": {**PACKED, "bits": 32, "block_size": None, "values": FLOATS}}},
            "embedding's scales are not expected",
        ),
        ({"decoder": {"embedding": {"values": {**FLOATS, "offset": -4}}}}, "a tensor at -4"),
        ({"rope": {"theta": 0}}, "theta is 0.0; it must be"),
        ({"rope": {"long_factor": [-1]}}, r"long_factor\[0\] is -1.0"),
        ({"rope": {"attention_scale": 0}}, "attention_scale is 0.0"),
        ({"tokens": {"eos": []}}, "eos is empty"),
        ({"tokens": {"eos": [6]}}, "id 6, outside the vocabulary of 6"),
        ({"tokens": {"image": -1}}, "id -1, outside the vocabulary"),
        ({"adapters": {"available": [{"name": "vision", "rank": 0, "scale": 1}]}}, "rank is 0"),
        ({"adapters": {"available": [{"name": "vision", "rank": 2, "scale": 0}]}}, "scale is 0"),
        ({"generation": {"temperature": -1}}, "temperature is -1"),
        ({"generation": {"top_k": -1}}, "top_k is -1"),
        ({"generation": {"top_p": 0}}, "top_p is 0"),
        (
            {"speech": {"graph": "g", "num_mels": 0, "time_reduction": 8, "window_rows": 1, "projections": []}},
            "num_mels",
        ),
    ],
)
def test_sizes_that_contradict_each_other_are_refused(folder: Path, place: dict[str, Any], message: str):
    raw = described(folder)
    ((part, change),) = place.items()
    merged = {**(raw[part] or {}), **change}
    if isinstance(change.get("embedding"), dict):
        merged["embedding"] = {**raw[part]["embedding"], **change["embedding"]}
    _edit(folder, **{part: merged})
    with pytest.raises(ArtifactError, match=message):
        Bundle(folder)


def test_separators_must_have_the_decoders_width():
    wrong = TensorRef(file="weights/decoder.bin", offset=0, dtype="float32", shape=(3,))
    vision = VisionInfo(
        graph="v", crop_size=56, patch_size=14, max_crops=4, row_separator=wrong, global_separator=wrong
    )
    with pytest.raises(ValueError, match=r"row_separator is float32 of shape \[3\]; .* need float32 \[2\]"):
        dataclasses.replace(_manifest(()), vision=vision)
    with pytest.raises(ValueError, match="holds fewer than 2 patches"):
        dataclasses.replace(vision, crop_size=20)
