"""The graphs' promises to the runtime: inputs and outputs, routing, windows, rows of logits."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file

from edgephi.bundle.bundle import Bundle
from edgephi.bundle.manifest import ADAPTER_IDS, AdapterInfo
from edgephi_export.checkpoint.checkpoint import open_checkpoint
from edgephi_export.checkpoint.config import MODALITIES
from edgephi_export.checkpoint.lazy_tensor import LazyTensor, computed
from edgephi_export.checkpoint.selection import choose
from edgephi_export.graphs.adapters import AdapterPair, merged
from support.bundles import small_bundle, small_checkpoint

Array = NDArray[np.float32]
CAPACITY = 32
_STEM = "model.embed_tokens_extend.audio_embed.encoder.embed.conv"


def _session(bundle: Path, graph: str) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(bundle / graph, options)


def _decode(bundle: Path, embeds: Array, rows: list[int], adapter: str = "none", graph: str = "decoder.onnx") -> Array:
    """Logits of the asked rows of one prefill, float32 [R, V]."""
    info, session = Bundle(bundle).manifest, _session(bundle, graph)
    frequencies = info.rope.theta ** -(np.arange(0, info.rope.rotary_dim, 2) / info.rope.rotary_dim)
    angles = np.arange(CAPACITY)[:, None] * frequencies / np.array(info.rope.short_factor)
    cache = np.zeros((1, info.decoder.num_kv_heads, CAPACITY, info.decoder.head_size), np.float32)
    feeds: dict[str, Any] = {
        "inputs_embeds": embeds,
        "logits_rows": np.array(rows, np.int64),
        "seqlens_k": np.array([embeds.shape[1] - 1], np.int32),
        "total_sequence_length": np.array(embeds.shape[1], np.int32),
        "cos_cache": np.cos(angles).astype(np.float32),
        "sin_cache": np.sin(angles).astype(np.float32),
    }
    feeds |= {value.name: cache for value in session.get_inputs() if value.name.startswith("past_key_values.")}
    if "adapter" in {value.name for value in session.get_inputs()}:
        feeds["adapter"] = np.array(ADAPTER_IDS[adapter], np.int64)
    logits: Array = session.run(["logits"], feeds)[0]
    return logits[0]


@pytest.fixture(scope="module")
def embeds() -> Array:
    return np.random.default_rng(0).standard_normal((1, 9, 192)).astype(np.float32)


@pytest.mark.parametrize(
    ("adapters", "has_input"), [(None, True), ("speech", False), ("vision", False), ("none", False)]
)
def test_the_adapter_is_an_input_only_where_it_is_chosen_per_request(adapters: str | None, has_input: bool):
    session = _session(small_bundle("native", adapters), "decoder.onnx")
    assert ("adapter" in {value.name for value in session.get_inputs()}) == has_input


def test_inputs_and_outputs_of_the_decoder():
    session = _session(small_bundle(), "decoder.onnx")
    inputs = {value.name: (value.type, value.shape) for value in session.get_inputs()}
    cache = ("tensor(float)", ["B", 1, "C", 64])
    assert inputs == {
        "inputs_embeds": ("tensor(float)", ["B", "S", 192]),
        "adapter": ("tensor(int64)", []),
        "logits_rows": ("tensor(int64)", ["R"]),
        "seqlens_k": ("tensor(int32)", ["B"]),
        "total_sequence_length": ("tensor(int32)", []),
        "cos_cache": ("tensor(float)", ["M", 24]),
        "sin_cache": ("tensor(float)", ["M", 24]),
    } | {f"past_key_values.{layer}.{kind}": cache for layer in (0, 1) for kind in ("key", "value")}
    outputs = {value.name: (value.type, value.shape) for value in session.get_outputs()}
    assert outputs == {"logits": ("tensor(float)", ["B", "R", 400])} | {
        f"present.{layer}.{kind}": cache for layer in (0, 1) for kind in ("key", "value")
    }


@pytest.mark.parametrize("adapter", ["none", "vision", "speech"])
def test_an_adapter_merged_is_the_adapter_routed(embeds: Array, adapter: str):
    rows = list(range(9))
    routed = _decode(small_bundle("native"), embeds, rows, adapter)
    merged = _decode(small_bundle("native", adapter), embeds, rows)
    assert np.abs(routed - merged).max() < 1e-4 * routed.std()


def test_the_adapters_differ_from_each_other(embeds: Array):
    none, vision, speech = (_decode(small_bundle(), embeds, [8], name) for name in ("none", "vision", "speech"))
    for one, other in ((none, vision), (none, speech), (vision, speech)):
        assert np.abs(one - other).max() > 0.1 * none.std()


@pytest.mark.parametrize("name", ["vision", "speech"])
def test_one_routed_adapter_alone_is_the_same_as_beside_the_other(embeds: Array, name: str):
    alone = small_bundle("native", None, ("text", name))
    for adapter in ("none", name):
        np.testing.assert_array_equal(
            _decode(alone, embeds, [8], adapter), _decode(small_bundle(), embeds, [8], adapter)
        )


def test_an_adapter_that_was_left_out_is_never_replaced_by_the_other(embeds: Array):
    hearing = small_bundle("native", None, ("text", "speech"))
    np.testing.assert_array_equal(_decode(hearing, embeds, [8], "vision"), _decode(hearing, embeds, [8], "none"))


def test_only_the_asked_rows_reach_the_head(embeds: Array):
    bundle = small_bundle("phi3")
    everything = _decode(bundle, embeds, list(range(9)))
    np.testing.assert_allclose(_decode(bundle, embeds, [8, 2, 2]), everything[[8, 2, 2]], rtol=1e-5, atol=1e-5)
    assert _decode(bundle, embeds, []).shape == (0, 400)  # a chunk of a long prompt that needs no logits


def test_merging_is_base_plus_scale_times_b_times_a():
    """In any chunks, and the scales come from the checkpoint."""
    checkpoint = open_checkpoint(small_checkpoint().path, choose(None, None, MODALITIES))
    source: Any = _Pair(b=np.array([[1.0], [2.0]]), a=np.array([[3.0, 0.0, -1.0]]))
    pair = AdapterPair(source, "layers.0.mlp.up", AdapterInfo(name="speech", rank=1, scale=0.5))
    both = merged(computed("x", (2, 3), lambda: np.ones((2, 3), np.float32), 24), pair)
    np.testing.assert_array_equal(both.whole(), [[2.5, 1.0, 0.5], [4.0, 1.0, 0.0]])
    np.testing.assert_array_equal(both.read_rows(1, 2), [[4.0, 1.0, 0.0]])
    assert both.source_bytes == 24 + 12 + 8
    assert {info.name: info.scale for info in checkpoint.config.adapters} == {"vision": 2.0, "speech": 3.0}


class _Pair:
    """Gives the two matrices of one LoRA."""

    def __init__(self, b: NDArray[np.float64], a: NDArray[np.float64]) -> None:
        self.matrices = {"lora_A": a.astype(np.float32), "lora_B": b.astype(np.float32)}

    def lazy(self, name: str) -> LazyTensor:
        matrix = self.matrices[name.split(".")[-3]]
        return LazyTensor(
            name=name,
            shape=matrix.shape,
            read_rows=lambda start, stop: matrix[start:stop],
            source_bytes=matrix.nbytes,
        )


def _nodes(graph: ir.Graph) -> Iterator[ir.Node]:
    for node in graph:
        yield node
        for attribute in node.attributes.values():
            if attribute.type == ir.AttributeType.GRAPH:
                yield from _nodes(attribute.as_graph())


def _constants(graph: ir.Graph) -> Iterator[Any]:
    """Constants of a graph and of its branches."""
    yield from (value.const_value for value in graph.initializers.values())
    for node in graph:
        for attribute in node.attributes.values():
            if attribute.type == ir.AttributeType.GRAPH:
                yield from _constants(attribute.as_graph())


def test_matrices_of_a_branch_are_constants_of_that_branch():
    """Taken from the outer graph by a branch in a branch, they would never be packed: 65 times slower."""
    model = ir.load(small_bundle() / "decoder.onnx")
    assert not [name for name in model.graph.initializers if ".lora_" in name]
    assert [node for node in _nodes(model.graph) if "lora_" in (node.name or "")]
    used = {value.name for node in _nodes(model.graph) for value in node.inputs if value is not None}
    assert {name for name in used if name and ".lora_" in name} >= {
        f"layers.0.mlp.down_proj.lora_{matrix}.{adapter}.weight" for matrix in "AB" for adapter in ("vision", "speech")
    }


@pytest.mark.parametrize("graph", ["decoder", "decoder_text", "vision", "speech"])
def test_graph_files_hold_no_weights(graph: str):
    """Weights inside a graph file would be parsed, copied and never mapped."""
    model = ir.load(small_bundle() / f"{graph}.onnx")
    constants = list(_constants(model.graph))
    assert len(constants) > 10
    for constant in constants:
        assert isinstance(constant, ir.ExternalTensor) or constant.nbytes < 256, constant.name


def test_every_routed_linear_has_its_own_switch():
    model = ir.load(small_bundle() / "decoder.onnx")
    outer = [node for node in model.graph if node.op_type == "If"]
    assert len(outer) == 2 * 4  # layers x adapted linears
    files = {str(constant.location) for constant in _constants(model.graph) if isinstance(constant, ir.ExternalTensor)}
    assert files == {f"weights/{name}.bin" for name in ("decoder", "adapter_vision", "adapter_speech")}


def test_the_text_graph_is_the_decoder_without_its_adapters(embeds: Array):
    """A text prompt must read no adapter, and give what the routed graph gives with none."""
    model = ir.load(small_bundle() / "decoder_text.onnx")
    files = {str(constant.location) for constant in _constants(model.graph) if isinstance(constant, ir.ExternalTensor)}
    assert files == {"weights/decoder.bin"}
    assert not [node for node in model.graph if node.op_type == "If"]
    rows = list(range(9))
    text = _decode(small_bundle(), embeds, rows, graph="decoder_text.onnx")
    np.testing.assert_array_equal(text, _decode(small_bundle(), embeds, rows))


# --- encoders ---


def _encode(bundle: Path, mel: Array, *, drop: int = 0, window: int | None = None, projection: int = 0) -> Array:
    rows = -(-mel.shape[1] // 8) - drop
    feeds = {
        "log_mel": mel,
        "drop_rows": np.array(drop),
        "window_rows": np.array(window or rows),
        "projection": np.array(projection),
    }
    features: Array = _session(bundle, "speech.onnx").run(None, feeds)[0]
    return features


@pytest.fixture(scope="module")
def mel() -> Array:
    return (12 + 4 * np.random.default_rng(1).standard_normal((1, 203, 80))).astype(np.float32)


@pytest.mark.parametrize("frames", [1, 7, 8, 9, 16, 203])
def test_one_row_per_80_ms(mel: Array, frames: int):
    assert _encode(small_bundle(), mel[:, :frames]).shape == (1, -(-frames // 8), 192)


def test_padding_is_attended_and_then_removed(mel: Array):
    """Attended zero rows change the others; an exporter that masked them would not match the model."""
    plain, padded = _encode(small_bundle(), mel), _encode(small_bundle(), mel, window=40)
    assert padded.shape == plain.shape
    assert np.abs(padded - plain).max() > 1e-3 * plain.std()


def test_a_dropped_row_gives_the_next_window_its_left_context(mel: Array):
    """Rows 10..25 from the frames before them are those of the whole recording: a window has no seam in its stem.

    The conformer attends over its window only, so the stem is seen through recordings whose windows hold the same rows.
    """
    tail = mel[:, 8 * 10 - 8 :]
    reference = _encode(small_bundle(), tail, drop=1)
    context = mel[:, 8 * 10 - 16 :]
    np.testing.assert_allclose(_encode(small_bundle(), context, drop=2), reference, rtol=1e-4, atol=1e-5)
    without = _encode(small_bundle(), mel[:, 8 * 10 :])
    assert np.abs(without - reference).max() > 1e-3 * reference.std()


def test_the_two_audio_projections_are_chosen_by_number(mel: Array):
    speech, vision = (_encode(small_bundle(), mel, projection=number) for number in (0, 1))
    assert np.abs(speech - vision).max() > 0.1 * speech.std()
    for adapters, expected in (("speech", speech), ("vision", vision)):
        alone = small_bundle("native", adapters)
        np.testing.assert_allclose(_encode(alone, mel, projection=0), expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(_encode(alone, mel, projection=1), expected, rtol=1e-4, atol=1e-5)


def test_pointwise_convolutions_are_linears_like_the_others():
    """They are half of the encoder's work, and as convolutions of floats they take four times as long."""
    tensors = {tensor.name: tensor for tensor in Bundle(small_bundle(recipe="int4-fast")).tensor_index().tensors}
    channels = len(load_file(small_checkpoint().path / "model.safetensors")[f"{_STEM}.3.bias"])
    for index in (3, 6):
        stored = tensors[f"speech.stem.conv.{index}"]
        assert (stored.format, stored.shape) == ("int8:rows", (channels, channels))


def _see(pixels: Array, mask: NDArray[np.bool_]) -> Array:
    """One view of 4x4 patches through the image tower, float32 [2, 2, H]."""
    feeds = {
        "pixel_values": pixels[None],
        "patch_mask": mask.reshape(1, 16),
        "position_ids": np.where(mask, np.arange(16).reshape(4, 4), 0).reshape(1, 16),
    }
    features: Array = _session(small_bundle(), "vision.onnx").run(None, feeds)[0]
    return features.reshape(2, 2, 192)


def test_masked_patches_are_neither_seen_nor_computed():
    pixels, mask = np.random.default_rng(2).standard_normal((3, 56, 56)).astype(np.float32), np.ones((4, 4), bool)
    mask[:, 2:] = False
    before = _see(pixels, mask)
    pixels[:, :, 28:] += 3
    after = _see(pixels, mask)
    np.testing.assert_array_equal(before, after)
    np.testing.assert_array_equal(after[0, 1], after[1, 1])  # no patch of theirs was computed


@pytest.mark.parametrize(("row", "column"), [(0, 3), (3, 0), (3, 3)])
def test_a_masked_patch_counts_only_where_it_is_pooled_with_one_that_is_not(row: int, column: int):
    """The model averages it into its cell, as transformers does, though no patch attends to it."""
    pixels, mask = np.random.default_rng(3).standard_normal((3, 56, 56)).astype(np.float32), np.ones((4, 4), bool)
    mask[3], mask[:, 3] = False, False
    before = _see(pixels, mask)
    pixels[:, 14 * row : 14 * row + 14, 14 * column : 14 * column + 14] += 3
    changed = np.abs(_see(pixels, mask) - before).max(-1)
    wanted = np.zeros((2, 2), bool)
    wanted[row // 2, column // 2] = True
    np.testing.assert_array_equal(changed > 0.01 * before.std(), wanted)
    np.testing.assert_array_equal(changed == 0, ~wanted)


def test_separators_are_stored_behind_the_projector():
    """Each under its own name: linear, exact GELU, linear, computed here from the checkpoint's own tensors."""
    bundle, prefix = Bundle(small_bundle()), "model.embed_tokens_extend.image_embed"
    tensors = load_file(small_checkpoint().path / "model.safetensors")
    assert bundle.manifest.vision is not None
    for ref, name in (
        (bundle.manifest.vision.row_separator, "sub_img_feature_extensor"),
        (bundle.manifest.vision.global_separator, "global_img_feature_extensor"),
    ):
        value = tensors[f"{prefix}.{name}"].reshape(-1)
        inner = tensors[f"{prefix}.img_projection_up.weight"] @ value + tensors[f"{prefix}.img_projection_up.bias"]
        inner = np.array([x * (1 + math.erf(x / math.sqrt(2))) / 2 for x in inner])
        outer = tensors[f"{prefix}.img_projection_down.weight"] @ inner + tensors[f"{prefix}.img_projection_down.bias"]
        np.testing.assert_allclose(bundle.tensor(ref), outer, rtol=1e-4, atol=1e-5)
