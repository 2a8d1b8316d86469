"""Phi-4-multimodal-instruct as the hub's main branch holds it.

The names and shapes of its tensors are written out from the published checkpoint and share nothing with the exporter or
with synthetic checkpoints, which are held to them. Values are holes in a sparse file or one repeated random block.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import ml_dtypes
import numpy as np

from edgephi_bench.synthetic.sizes import Sizes
from support.sizes import write_test_configs
from support.vocabulary import CHAT_TEMPLATE, write_tokenizer

Shapes = Iterator[tuple[str, tuple[int, ...]]]
_IMAGE = "model.embed_tokens_extend.image_embed"
_AUDIO = "model.embed_tokens_extend.audio_embed"
_BLOCK_VALUES = 1 << 20


def public_shapes(layers: int = 32) -> Shapes:
    """Every tensor of the published files."""
    yield "model.embed_tokens.weight", (200064, 3072)
    yield "model.norm.weight", (3072,)
    for layer in range(layers):
        prefix = f"model.layers.{layer}"
        yield f"{prefix}.input_layernorm.weight", (3072,)
        yield f"{prefix}.post_attention_layernorm.weight", (3072,)
        yield from _adapted(f"{prefix}.self_attn.qkv_proj", 5120, 3072)
        yield from _adapted(f"{prefix}.self_attn.o_proj", 3072, 3072)
        yield from _adapted(f"{prefix}.mlp.gate_up_proj", 16384, 3072)
        yield from _adapted(f"{prefix}.mlp.down_proj", 3072, 8192)
    yield from _image_tower(f"{_IMAGE}.img_processor")
    yield f"{_IMAGE}.glb_GN", (1, 1, 1152)
    yield f"{_IMAGE}.sub_GN", (1, 1, 1, 1152)
    yield from _affine(f"{_IMAGE}.img_projection.0", 3072, 1152)
    yield from _affine(f"{_IMAGE}.img_projection.2", 3072, 3072)
    yield from _audio_tower(f"{_AUDIO}.encoder")
    for kind in ("speech", "vision"):
        yield from _affine(f"{_AUDIO}.audio_projection.{kind}.0", 3072, 1024)
        yield from _affine(f"{_AUDIO}.audio_projection.{kind}.2", 3072, 3072)


def _adapted(name: str, outputs: int, inputs: int) -> Shapes:
    yield f"{name}.base_layer.weight", (outputs, inputs)
    for adapter, rank in (("speech", 320), ("vision", 256)):
        yield f"{name}.lora_A.{adapter}.weight", (rank, inputs)
        yield f"{name}.lora_B.{adapter}.weight", (outputs, rank)


def _affine(name: str, outputs: int, *inputs: int) -> Shapes:
    yield f"{name}.weight", (outputs, *inputs)
    yield f"{name}.bias", (outputs,)


def _image_tower(tower: str) -> Shapes:
    yield from _affine(f"{tower}.embeddings.patch_embedding", 1152, 3, 14, 14)
    yield f"{tower}.embeddings.position_embedding.weight", (1024, 1152)
    for layer in range(27):
        prefix = f"{tower}.encoder.layers.{layer}"
        yield from _affine(f"{prefix}.layer_norm1", 1152)
        yield from _affine(f"{prefix}.layer_norm2", 1152)
        for projection in ("q_proj", "k_proj", "v_proj", "out_proj"):
            yield from _affine(f"{prefix}.self_attn.{projection}", 1152, 1152)
        yield from _affine(f"{prefix}.mlp.fc1", 4304, 1152)
        yield from _affine(f"{prefix}.mlp.fc2", 1152, 4304)
    yield from _affine(f"{tower}.post_layernorm", 1152)
    yield f"{tower}.head.probe", (1, 1, 1152)
    yield f"{tower}.head.attention.in_proj_weight", (3456, 1152)
    yield f"{tower}.head.attention.in_proj_bias", (3456,)
    yield from _affine(f"{tower}.head.attention.out_proj", 1152, 1152)
    yield from _affine(f"{tower}.head.layernorm", 1152)
    yield from _affine(f"{tower}.head.mlp.fc1", 4304, 1152)
    yield from _affine(f"{tower}.head.mlp.fc2", 1152, 4304)


def _audio_tower(tower: str) -> Shapes:
    yield f"{tower}.encoder_embedding.global_mean", (80,)
    yield f"{tower}.encoder_embedding.global_invstd", (80,)
    yield from _affine(f"{tower}.embed.conv.0", 1024, 1, 3, 3)
    for index in (2, 5):
        yield from _affine(f"{tower}.embed.conv.{index}", 1024, 1, 3, 3)
        yield from _affine(f"{tower}.embed.conv.{index + 1}", 1024, 1024, 1, 1)
    yield from _affine(f"{tower}.embed.out", 1024, 10240)
    yield f"{tower}.relative_attention_bias_layer.bias_values.weight", (1000, 16)
    for block in range(24):
        prefix = f"{tower}.encoders.{block}"
        for part in ("feed_forward_in", "feed_forward_out"):
            yield from _affine(f"{prefix}.{part}.layer_norm", 1024)
            yield from _affine(f"{prefix}.{part}.net.0.linear", 3072, 1024)
            yield from _affine(f"{prefix}.{part}.net.2", 1024, 1536)
        for letter in ("q", "k", "v", "out"):
            yield from _affine(f"{prefix}.self_attn.linear_{letter}", 1024, 1024)
        yield from _affine(f"{prefix}.conv.layer_norm", 1024)
        yield from _affine(f"{prefix}.conv.glu.ext_pw_conv_1d", 2048, 1024, 1)
        yield f"{prefix}.conv.glu.b1", (1, 1024, 1)
        yield f"{prefix}.conv.glu.b2", (1, 1024, 1)
        yield from _affine(f"{prefix}.conv.dw_sep_conv_1d.dw_conv", 1024, 1, 3)
        yield from _affine(f"{prefix}.conv.dw_sep_conv_1d.pw_conv", 1024, 1024, 1)
        yield from _affine(f"{prefix}.conv.ext_pw_conv_1d", 1024, 1024, 1)
        yield from _affine(f"{prefix}.layer_norm_att", 1024)
        yield from _affine(f"{prefix}.layer_norm", 1024)


def write_public_checkpoint(folder: Path, *, layers: int = 32, filled: bool) -> Path:
    """The public checkpoint with its real names, sizes and config, bfloat16, and a small tokenizer.

    Args:
        folder: Made here.
        layers: Decoder layers; the towers are always whole.
        filled: Random values; otherwise the files are holes of zeros that take no space.
    """
    folder.mkdir(parents=True)
    write_test_configs(folder, "phi4mm", Sizes(layers=layers))
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    write_tokenizer(folder)
    _write_weights(folder / "model.safetensors", dict(public_shapes(layers)), filled=filled)
    return folder


def write_shards(folder: Path, shapes: dict[str, tuple[int, ...]], count: int) -> None:
    """Holes of zeros in `count` shards with an index, as the hub holds large models."""
    places = {}
    for i in range(count):
        name, part = f"model-{i + 1:05}-of-{count:05}.safetensors", dict(list(shapes.items())[i::count])
        _write_weights(folder / name, part, filled=False)
        places |= dict.fromkeys(part, name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))


def _write_weights(path: Path, shapes: dict[str, tuple[int, ...]], *, filled: bool) -> None:
    header, end = {}, 0
    for name, shape in shapes.items():
        start, end = end, end + 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    block = np.random.default_rng(0).standard_normal(_BLOCK_VALUES).astype(np.float32)
    with path.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        if filled:
            for shape in shapes.values():
                scaled = block / np.float32(math.sqrt(math.prod(shape[1:])) if len(shape) > 1 else 3.0)
                data, count = scaled.astype(ml_dtypes.bfloat16), math.prod(shape)
                for start in range(0, count, _BLOCK_VALUES):
                    stream.write(data[: min(_BLOCK_VALUES, count - start)].tobytes())
        stream.truncate(8 + len(text) + end)
