"""A synthetic checkpoint must be, to every program that reads it, the public one: names, shapes, files and ids."""

from __future__ import annotations

import errno
import json
import math
import shutil
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import ml_dtypes
import numpy as np
import pytest
from safetensors import safe_open
from tokenizers import Tokenizer

from edgephi import Model
from edgephi.base.errors import CapacityError, ConfigError, EdgeError
from edgephi.base.step import Step
from edgephi_bench.synthetic.checkpoint import SyntheticOptions, write_synthetic
from edgephi_bench.synthetic.sizes import LAYOUTS, Layout, Sizes
from edgephi_bench.synthetic.tensors import TensorSpec, adapter_tensors, model_tensors
from edgephi_bench.synthetic.values import BLOCK_VALUES, ValueSource
from edgephi_bench.synthetic.vocabulary import special_id, write_tokenizer
from edgephi_export import ExportOptions
from edgephi_export import export as run_export
from edgephi_export.checkpoint.config import CheckpointLayout
from support.checkpoints import write_checkpoint
from support.public_model import public_shapes

Shapes = dict[str, tuple[int, ...]]


def _write(folder: Path, layout: Layout, sizes: Sizes, seed: int = 0) -> Path:
    write_synthetic(folder, layout, SyntheticOptions(sizes=sizes, seed=seed))
    return folder


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def _shapes(path: Path) -> Shapes:
    with safe_open(path, "numpy") as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118


def _all_shapes(folder: Path) -> dict[str, Shapes]:
    """By folder: the adapters' names repeat."""
    shapes: dict[str, Shapes] = {}
    for path in folder.rglob("*.safetensors"):
        shapes.setdefault(str(path.parent.relative_to(folder)), {}).update(_shapes(path))
    return shapes


def _values(path: Path) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    data = np.frombuffer(raw, np.uint8, offset=8 + length)
    return {
        name: data[slice(*entry["data_offsets"])].view(ml_dtypes.bfloat16).astype(np.float32).reshape(entry["shape"])
        for name, entry in header.items()
        if name != "__metadata__"
    }


def test_every_layout_that_is_exported_can_be_measured():
    assert get_args(CheckpointLayout) == LAYOUTS


def test_the_default_sizes_are_the_published_multimodal_model():
    """A tensor too few, or of another size, and conversion times are those of another model."""
    ours = {tensor.name: tensor.shape for tensor in model_tensors("phi4mm", Sizes())}
    assert ours == dict(public_shapes())
    assert sum(2 * math.prod(shape) for shape in ours.values()) == 11_148_920_768


def test_the_default_sizes_are_phi_4_mini():
    ours = {tensor.name: tensor.shape for tensor in model_tensors("phi3", Sizes())}
    assert ours == {
        name.replace(".base_layer.", "."): shape
        for name, shape in public_shapes()
        if ".lora_" not in name and "embed_tokens_extend" not in name
    }


def test_the_native_layout_holds_the_same_parameters():
    """The native layout is another arrangement of the same model, so nothing may be lost or added."""
    moved = sum(tensor.num_bytes for name in ("speech", "vision") for tensor in adapter_tensors(name, Sizes()))
    kept = sum(tensor.num_bytes for tensor in model_tensors("phi4_multimodal", Sizes()))
    assert moved + kept == 11_148_920_768


@pytest.mark.parametrize("layout", LAYOUTS)
def test_files_hold_what_an_independent_writer_puts_there(tmp_path: Path, small: Sizes, layout: Layout):
    names = {"phi3": "phi3", "phi4mm": "original", "phi4_multimodal": "native"}
    write_checkpoint(tmp_path / "other", names[layout], sizes=small)  # type: ignore[arg-type]
    assert _all_shapes(_write(tmp_path / "ours", layout, small)) == _all_shapes(tmp_path / "other")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_exporter_takes_it_and_the_model_runs(tmp_path: Path, small: Sizes, layout: Layout):
    """A benchmark that stops at the exporter's checks, or yields NaN after a few layers, measures nothing."""
    _write(tmp_path / "checkpoint", layout, small)
    run_export(tmp_path / "checkpoint", tmp_path / "out", ExportOptions(recipe="fp32"))
    with Model.load(tmp_path / "out") as model:
        assert model.manifest.rope.attention_scale == pytest.approx(1.190238, abs=1e-6)
        logits = model.logits(np.arange(5, 25))
        assert np.isfinite(logits).all()
        assert 0.1 < logits.std() < 10


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_tensor_varies_and_is_finite(tmp_path: Path, small: Sizes, layout: Layout):
    """A constant tensor compresses and quantizes as no real one does."""
    _write(tmp_path / "checkpoint", layout, small)
    specs = {tensor.name: tensor for tensor in model_tensors(layout, small)}
    for path in (tmp_path / "checkpoint").rglob("*.safetensors"):
        for name, value in _values(path).items():
            assert np.isfinite(value).all(), name
            assert value.std() > 0, name
            if value.size > 1000 and name in specs:
                assert value.std() == pytest.approx(specs[name].deviation, rel=0.15), name
                assert value.mean() == pytest.approx(specs[name].mean, abs=0.2 * specs[name].deviation), name


def test_index_and_shards_agree(tmp_path: Path, small: Sizes):
    """The library transformers finds a tensor through the index alone."""
    folder = _write(tmp_path / "checkpoint", "phi4mm", small)
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    shards = {path.name: _shapes(path) for path in sorted(folder.glob("*.safetensors"))}
    count = len(shards)
    assert count > 1
    assert list(shards) == [f"model-{i + 1:05}-of-{count:05}.safetensors" for i in range(count)]
    assert index["weight_map"] == {name: file for file, shapes in shards.items() for name in shapes}
    sizes = [sum(2 * math.prod(shape) for shape in shapes.values()) for shapes in shards.values()]
    assert index["metadata"]["total_size"] == sum(sizes)
    assert all(size <= small.shard_bytes for size in sizes)


def test_public_sizes_give_as_many_shards_as_the_public_files():
    from edgephi_bench.synthetic.shards import split  # noqa: PLC0415

    assert [len(split(model_tensors(layout, Sizes()), Sizes().shard_bytes)) for layout in LAYOUTS] == [2, 3, 2]


def test_what_fits_one_file_is_one_file(tmp_path: Path, small: Sizes):
    folder = _write(tmp_path / "checkpoint", "phi3", Sizes(**{**_fields(small), "shard_bytes": 10**9}))
    assert [path.name for path in folder.glob("model*")] == ["model.safetensors"]


def _fields(sizes: Sizes) -> dict[str, int]:
    return {name: getattr(sizes, name) for name in Sizes.__dataclass_fields__}


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path, small: Sizes):
    first = _files(_write(tmp_path / "a", "phi4_multimodal", small, seed=7))
    assert _files(_write(tmp_path / "b", "phi4_multimodal", small, seed=7)) == first
    other = _files(_write(tmp_path / "c", "phi4_multimodal", small, seed=8))
    changed = {name for name in first if first[name] != other[name]}
    assert changed == {name for name in first if name.endswith(".safetensors")} | {"synthetic.json"}


def test_no_two_rows_of_a_large_tensor_are_equal():
    """Equal rows would let a file system or a quantizer do less work than with a real model."""
    rows = 2 * BLOCK_VALUES // 3072 + 1
    parts = ValueSource(0).parts(TensorSpec("table", (rows, 3072), 0.0, 1.0))
    table = np.concatenate(list(parts)).reshape(rows, 3072)
    assert len({row.tobytes() for row in table}) == rows


def test_two_tensors_of_one_shape_differ():
    source = ValueSource(0)
    one, other = (next(source.parts(TensorSpec(name, (64, 64), 0.0, 1.0))) for name in ("a", "b"))
    assert not np.array_equal(one, other)


@pytest.fixture(scope="module")
def public_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(folder, Sizes())
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


def test_the_tokenizer_has_the_public_ids(public_tokenizer: Tokenizer):
    """Prompts are built from these; with another id the model would read them as words."""
    assert public_tokenizer.get_vocab_size() == 200064
    assert [public_tokenizer.id_to_token(i) is None for i in range(200064)] == [False] * 200064
    published = {
        "<|endoftext|>": 199999, "<|endoftext10|>": 200010, "<|endoftext11|>": 200011, "<|assistant|>": 200019,
        "<|end|>": 200020, "<|user|>": 200021, "<|system|>": 200022, "<|tool|>": 200023, "<|/tool|>": 200024,
        "<|tool_call|>": 200025, "<|/tool_call|>": 200026, "<|tool_response|>": 200027,
    }  # fmt: skip
    assert {token: public_tokenizer.token_to_id(token) for token in published} == published


@pytest.mark.parametrize("text", ["The quick brown fox.\n", "Größe 日本語 🙂 \x00\x7f", "<|user|>hi<|end|>", "  a\t b"])
def test_any_text_survives_the_tokenizer(public_tokenizer: Tokenizer, text: str):
    ids = public_tokenizer.encode(text).ids
    assert public_tokenizer.decode(ids, skip_special_tokens=False) == text


def test_words_become_pieces_and_special_tokens_one_id(public_tokenizer: Tokenizer):
    assert len(public_tokenizer.encode("international cooperation").ids) < 15
    assert public_tokenizer.encode("<|end|>").ids == [200020]


def test_settings_are_the_published_ones(tmp_path: Path):
    from edgephi_bench.synthetic.configs import write_configs  # noqa: PLC0415

    sizes = Sizes()
    write_configs(tmp_path, "phi3", sizes, partial(special_id, vocab=sizes.vocab))
    config = json.loads((tmp_path / "config.json").read_text())
    long = config["rope_scaling"]["long_factor"]
    assert (len(long), long[:2], long[31:33], long[-2:]) == (48, [1, 1.118320672], [32.03, 32.1], [44.16, 47.77])
    assert long == sorted(long)
    assert sum(long) == pytest.approx(844.763412405, abs=1e-9)
    assert config["rope_scaling"]["short_factor"] == [1.0] * 48
    assert (config["vocab_size"], config["bos_token_id"], config["num_hidden_layers"]) == (200064, 199999, 32)
    generation = json.loads((tmp_path / "generation_config.json").read_text())
    assert generation["eos_token_id"] == [200020, 199999]


def test_an_existing_folder_is_kept_without_force(tmp_path: Path, small: Sizes):
    folder = _write(tmp_path / "checkpoint", "phi3", small)
    before = _files(folder)
    with pytest.raises(ConfigError, match="already exists"):
        write_synthetic(folder, "phi3", SyntheticOptions(sizes=small, seed=1))
    assert _files(folder) == before


def test_force_replaces_a_synthetic_checkpoint_and_nothing_else(tmp_path: Path, small: Sizes):
    folder = _write(tmp_path / "checkpoint", "phi3", small)
    before = _files(folder)
    write_synthetic(folder, "phi3", SyntheticOptions(sizes=small, seed=1, force=True))
    assert _files(folder) != before
    (folder / "synthetic.json").unlink()  # now it could be anybody's
    before = _files(folder)
    with pytest.raises(ConfigError, match="not a synthetic checkpoint"):
        write_synthetic(folder, "phi3", SyntheticOptions(sizes=small, seed=2, force=True))
    assert _files(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


def test_a_full_disk_is_refused_before_anything_is_written(
    tmp_path: Path, small: Sizes, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=7_000_000_000))
    with pytest.raises(CapacityError, match=r"needs 7.71 GB, the disk has 7.00 GB free"):
        write_synthetic(tmp_path / "checkpoint", "phi3")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("failure", "seen"),
    [
        (KeyboardInterrupt(), KeyboardInterrupt),
        (OSError(errno.ENOSPC, "No space left on device"), CapacityError),
        (OSError(errno.EIO, "Input/output error"), EdgeError),
    ],
)
def test_an_interrupted_or_failed_writing_leaves_nothing(
    tmp_path: Path, small: Sizes, failure: BaseException, seen: type[BaseException]
):
    def fail(step: Step) -> None:
        assert list(tmp_path.iterdir())  # something is there to be left
        if step.done > step.total / 2:
            raise failure

    with pytest.raises(seen):
        write_synthetic(tmp_path / "checkpoint", "phi4mm", SyntheticOptions(sizes=small), fail)
    assert not list(tmp_path.iterdir())


def test_impossible_requests_say_what_is_possible(tmp_path: Path, small: Sizes):
    with pytest.raises(ConfigError, match="known: phi3, phi4mm, phi4_multimodal"):
        write_synthetic(tmp_path / "x", "phi5")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="no such folder"):
        write_synthetic(tmp_path / "missing" / "x", "phi3", SyntheticOptions(sizes=small))
    with pytest.raises(ConfigError, match="layers is 0"):
        Sizes(layers=0)
    with pytest.raises(ConfigError, match="vocab is 300"):
        Sizes(vocab=300)
