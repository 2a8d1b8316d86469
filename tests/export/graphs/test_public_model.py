"""The real checkpoint's names, sizes and settings must be accepted, without the real checkpoint."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from edgephi.bundle.bundle import Bundle
from edgephi.decoder.embedding_table import EmbeddingTable
from edgephi_bench.measure.subprocess_run import measure_command
from edgephi_export import ExportOptions, export
from edgephi_export.checkpoint.checkpoint import open_checkpoint
from edgephi_export.checkpoint.config import MODALITIES
from edgephi_export.checkpoint.selection import choose
from edgephi_export.checkpoint.tensor_names import expected_shapes
from support.public_model import public_shapes, write_public_checkpoint, write_shards
from support.tensor_files import change_json


def test_the_public_checkpoint_is_read_whole(tmp_path: Path):
    """All 32 layers, 27 image layers, 24 audio blocks: every tensor is known and none is missing."""
    folder = write_public_checkpoint(tmp_path / "checkpoint", filled=False)
    checkpoint = open_checkpoint(folder, choose(None, None, MODALITIES))
    config = checkpoint.config
    counts = dict.fromkeys(("decoder", "lora_vision", "lora_speech", "vision", "speech"), 0)
    for name, shape in expected_shapes(config).items():
        part = f"lora_{name.split('.')[-2]}" if ".lora_" in name else name.split(".")[0]
        counts[part if part in counts else "decoder"] += math.prod(shape)
    assert counts["decoder"] == 3_836_021_760  # the published 3.8 billion
    assert round(counts["lora_vision"] / 1e6) == 369
    assert round(counts["lora_speech"] / 1e6) == 461
    assert config.vision is not None
    assert (config.vision.num_heads, config.vision.num_used_layers, config.vision.layer_norm_eps) == (16, 26, 1e-6)
    assert (config.rope.rotary_dim, config.rope.original_max_positions) == (96, 4096)
    assert config.rope.attention_scale == pytest.approx(1.190238, abs=1e-6)
    assert [(info.name, info.rank, info.scale) for info in config.adapters] == [
        ("vision", 256, 2.0),
        ("speech", 320, 2.0),
    ]


def test_the_public_repositorys_files_are_read(tmp_path: Path):
    """Three shards, the template inside tokenizer_config.json, and PEFT folders that the main files repeat."""
    folder = write_public_checkpoint(tmp_path / "checkpoint", filled=False)
    (folder / "model.safetensors").unlink()
    write_shards(folder, dict(public_shapes()), 3)
    template = (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.jinja").unlink()
    change_json(folder / "tokenizer_config.json", lambda c: c.update(chat_template=template))
    for name in ("speech-lora", "vision-lora"):
        (folder / name).mkdir()
        (folder / name / "adapter_model.safetensors").write_text("not read")
    checkpoint = open_checkpoint(folder, choose(None, None, MODALITIES))
    assert checkpoint.chat_template == template
    assert checkpoint.weights.shapes == expected_shapes(checkpoint.config)


def test_phi_4_mini_is_read_whole(tmp_path: Path):
    """The same decoder without adapters: 3.8 billion parameters under plain names."""
    folder = write_public_checkpoint(tmp_path / "checkpoint", filled=False)
    (folder / "model.safetensors").unlink()
    shapes = {
        name.replace(".base_layer.", "."): shape
        for name, shape in public_shapes()
        if ".lora_" not in name and "embed_tokens_extend" not in name
    }
    write_shards(folder, shapes, 2)
    change_json(folder / "config.json", lambda c: c.update(model_type="phi3"))
    config = open_checkpoint(folder, choose(None, None, ("text",))).config
    assert sum(math.prod(shape) for shape in expected_shapes(config).values()) == 3_836_021_760
    assert config.rope.attention_scale == pytest.approx(1.190238, abs=1e-6)


@pytest.fixture(scope="module")
def public_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two decoder layers, both towers whole, random weights: 3.5 GB."""
    return write_public_checkpoint(tmp_path_factory.mktemp("public") / "checkpoint", layers=2, filled=True)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["fp32", "int4", "int4-fast"])
def test_the_public_sizes_export_and_run(public_checkpoint: Path, tmp_path: Path, recipe: str):
    bundle = Bundle(export(public_checkpoint, tmp_path / "out", ExportOptions(recipe=recipe)), check_hashes=True)
    _run_decoder(bundle)
    _run_vision(bundle)
    _run_speech(bundle)


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [[], ["--method", "rtn"], ["--adapters", "speech"], ["--recipe", "fp32"]])
def test_an_export_needs_little_memory_whatever_the_size(public_checkpoint: Path, tmp_path: Path, arguments: list[str]):
    """The table alone is 2.5 GB as float32; neither it nor anything else may be held as a whole."""
    code = "from edgephi_export.commands.export import export; export()"
    command = [sys.executable, "-c", code, str(public_checkpoint), "-o", str(tmp_path / "out"), "--json", *arguments]
    assert measure_command(command).peak_bytes < 800e6


@pytest.mark.slow
def test_a_request_reads_only_the_parts_it_needs(public_checkpoint: Path, tmp_path: Path):
    """Text touches no page of an adapter or encoder."""
    bundle = export(public_checkpoint, tmp_path / "out", ExportOptions(method="rtn"))
    done = subprocess.run(
        [sys.executable, "-c", _RESIDENT, str(bundle)], check=True, capture_output=True, text=True, timeout=600
    )
    text, speech = map(json.loads, done.stdout.splitlines())
    assert text["decoder.bin"] > 0
    assert not {name for name, kilobytes in text.items() if kilobytes} - {"decoder.bin", "anonymous", "other"}
    assert speech["anonymous"] > text["anonymous"] + 50_000  # packed: the encoder and the adapters


_RESIDENT = """
import json, re, sys
import numpy as np
from edgephi import Model, SamplingOptions

def resident():
    sizes, name = {}, None
    for line in open("/proc/self/smaps"):
        if found := re.match(r"[0-9a-f]+-[0-9a-f]+ .{4} \\S+ \\S+ \\d+ *(.*)", line):
            name = found[1].rsplit("/")[-1]
        elif line.startswith("Rss:"):
            key = name if name.endswith(".bin") else "anonymous" if not name or name == "[heap]" else "other"
            sizes[key] = sizes.get(key, 0) + int(line.split()[1])
    return sizes

options = SamplingOptions(max_new_tokens=2)
with Model.load(sys.argv[1]) as model:
    model.generate("hi", options=options)
    print(json.dumps(resident()))
    model.generate("hi", audio=[(np.ones(16000, np.float32), 16000)], options=options)
    print(json.dumps(resident()))
"""


def _outputs(bundle: Bundle, graph: str, runs: list[dict[str, Any]]) -> list[np.ndarray[Any, Any]]:
    session = ort.InferenceSession(bundle.file(graph))
    results = [session.run([session.get_outputs()[0].name], feeds)[0] for feeds in runs]
    for result in results:
        assert np.isfinite(result).all()
        assert result.std() > 0
    return results


def _run_decoder(bundle: Bundle) -> None:
    info, count = bundle.manifest.decoder, 5
    assert (info.num_heads, info.num_kv_heads, info.head_size, info.vocab_size) == (24, 8, 128, 200064)
    cache = np.zeros((1, 8, 16, 128), np.float32)
    feeds: dict[str, Any] = {
        "inputs_embeds": EmbeddingTable(bundle, info.embedding).rows(np.arange(100, 100 + count))[None],
        "logits_rows": np.array([count - 1]),
        "seqlens_k": np.array([count - 1], np.int32),
        "total_sequence_length": np.array(count, np.int32),
        "cos_cache": np.ones((16, 48), np.float32),
        "sin_cache": np.zeros((16, 48), np.float32),
    } | {f"past_key_values.{layer}.{kind}": cache for layer in (0, 1) for kind in ("key", "value")}
    runs = [feeds | {"adapter": np.array(number)} for number in (0, 1, 2)]
    none, vision, speech = _outputs(bundle, "decoder.onnx", runs)
    assert none.shape == (1, 1, 200064)
    assert np.abs(none - vision).max() > 1e-3
    assert np.abs(vision - speech).max() > 1e-3


def _run_vision(bundle: Bundle) -> None:
    pixels = np.random.default_rng(0).standard_normal((1, 3, 448, 448)).astype(np.float32)
    feeds = {"pixel_values": pixels, "patch_mask": np.ones((1, 1024), bool), "position_ids": np.arange(1024)[None]}
    (features,) = _outputs(bundle, "vision.onnx", [feeds])
    assert features.shape == (1, 256, 3072)


def _run_speech(bundle: Bundle) -> None:
    mel = np.random.default_rng(0).standard_normal((1, 161, 80)).astype(np.float32)
    feeds = {"log_mel": mel, "drop_rows": np.array(0), "window_rows": np.array(21), "projection": np.array(0)}
    speech, vision = _outputs(bundle, "speech.onnx", [feeds, feeds | {"projection": np.array(1)}])
    assert speech.shape == vision.shape == (1, 21, 3072)
