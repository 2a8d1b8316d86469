"""The small model's weights, under their native names.

The scale of the random values is large enough that each tensor moves the logits by far more than the tests'
tolerance.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from edgephi_bench.synthetic.sizes import Sizes
from support.random_values import spread, uniform

Array = NDArray[np.float32]
IMAGE, AUDIO = "model.embed_tokens_extend.image_embed", "model.embed_tokens_extend.audio_embed"
ADAPTED = ("self_attn.qkv_proj", "self_attn.o_proj", "mlp.gate_up_proj", "mlp.down_proj")


#: Size of the decoder's residual stream: small, as the public model's is at first, so that each norm's epsilon matters.
STREAM = 0.03


class Weights:
    """Named float32 arrays in the making. A tensor depends on its name and the seed alone."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.tensors: dict[str, Array] = {}

    def matrix(self, name: str, shape: tuple[int, ...], gain: float = 1.0) -> None:
        """Random values that keep a unit signal's size times `gain`; the first axis is the output."""
        deviation = gain / math.sqrt(math.prod(shape[1:]))
        self.tensors[name] = spread(name, self.seed, shape, deviation)

    def vector(self, name: str, shape: tuple[int, ...], center: float, radius: float) -> None:
        """Values within `radius` of `center`."""
        self.tensors[name] = np.float32(center) + np.float32(radius) * uniform(name, self.seed, shape)

    def convolution(self, name: str, shape: tuple[int, ...], gain: float = 1.5) -> None:
        """A kernel [outputs, inputs, ...] and a bias."""
        self.matrix(f"{name}.weight", shape, gain)
        self.vector(f"{name}.bias", (shape[0],), 0.1, 0.2)

    def linear(self, name: str, outputs: int, inputs: int, gain: float = 1.0, bias: float = 0.0) -> None:
        """A matrix and a bias, its values around `bias`.

        In front of a GELU the center is -1.5: left of zero its exact and its tanh form differ enough to tell.
        """
        self.matrix(f"{name}.weight", (outputs, inputs), gain)
        self.vector(f"{name}.bias", (outputs,), bias, 0.3)

    def norm(self, name: str, width: int, *, bias: bool = True) -> None:
        """A normalization's scale around one, and its bias."""
        self.vector(f"{name}.weight", (width,), 1.0, 0.4)
        if bias:
            self.vector(f"{name}.bias", (width,), 0.0, 0.3)


def decoder_weights(sizes: Sizes, seed: int) -> dict[str, Array]:
    """The language model; the head is tied to the embedding and absent."""
    made = Weights(seed)
    made.vector("model.embed_tokens.weight", (sizes.vocab, sizes.hidden), 0.0, STREAM)
    for name, rows, columns, gain in _decoder_linears(sizes):
        made.matrix(f"{name}.weight", (rows, columns), gain)
    for layer in range(sizes.layers):
        made.norm(f"model.layers.{layer}.input_layernorm", sizes.hidden, bias=False)
        made.norm(f"model.layers.{layer}.post_attention_layernorm", sizes.hidden, bias=False)
    made.norm("model.norm", sizes.hidden, bias=False)
    return made.tensors


def _decoder_linears(sizes: Sizes) -> Iterator[tuple[str, int, int, float]]:
    for layer in range(sizes.layers):
        prefix = f"model.layers.{layer}"
        yield f"{prefix}.self_attn.qkv_proj", sizes.qkv, sizes.hidden, 1.5
        yield f"{prefix}.self_attn.o_proj", sizes.hidden, sizes.heads * sizes.head_size, 1.5 * STREAM
        yield f"{prefix}.mlp.gate_up_proj", 2 * sizes.intermediate, sizes.hidden, 1.0
        yield f"{prefix}.mlp.down_proj", sizes.hidden, sizes.intermediate, 1.5 * STREAM


def adapter_weights(sizes: Sizes, seed: int, adapter: str) -> dict[str, tuple[Array, Array]]:
    """The LoRA of "vision" or "speech": for each decoder linear A [rank, inputs] and B [outputs, rank]."""
    rank = {"vision": sizes.vision_rank, "speech": sizes.speech_rank}[adapter]
    pairs = {}
    for name, rows, columns, gain in _decoder_linears(sizes):
        made = Weights(seed)
        made.matrix(f"{name}.lora_A.{adapter}", (rank, columns))
        made.matrix(f"{name}.lora_B.{adapter}", (rows, rank), 0.2 * gain)
        pairs[name] = (made.tensors[f"{name}.lora_A.{adapter}"], made.tensors[f"{name}.lora_B.{adapter}"])
    return pairs


def vision_weights(sizes: Sizes, seed: int) -> dict[str, Array]:
    """The image tower with the parts that nothing uses, its separators and projector."""
    made, width, tower = Weights(seed), sizes.image_hidden, f"{IMAGE}.img_processor"
    # Small, so that the first norm's epsilon matters.
    made.matrix(f"{tower}.embeddings.patch_embedding.weight", (width, 3, sizes.patch, sizes.patch), 0.02)
    made.vector(f"{tower}.embeddings.patch_embedding.bias", (width,), 0.0, 0.005)
    made.vector(f"{tower}.embeddings.position_embedding.weight", (sizes.patches_per_side**2, width), 0.0, 0.01)
    for layer in range(sizes.image_layers):
        _image_layer(made, f"{tower}.encoder.layers.{layer}", sizes)
    made.norm(f"{tower}.post_layernorm", width)
    _image_head(made, f"{tower}.head", sizes)
    made.vector(f"{IMAGE}.global_img_feature_extensor", (1, 1, width), 0.0, 1.0)
    made.vector(f"{IMAGE}.sub_img_feature_extensor", (1, 1, 1, width), 0.0, 1.0)
    made.linear(f"{IMAGE}.img_projection_up", sizes.hidden, width, 0.7, bias=-1.5)
    made.matrix(f"{IMAGE}.img_projection_down.weight", (sizes.hidden, sizes.hidden), 8.0 * STREAM)
    made.vector(f"{IMAGE}.img_projection_down.bias", (sizes.hidden,), 0.0, 0.3 * STREAM)
    return made.tensors


def _image_layer(made: Weights, prefix: str, sizes: Sizes) -> None:
    width = sizes.image_hidden
    made.norm(f"{prefix}.layer_norm1", width)
    made.norm(f"{prefix}.layer_norm2", width)
    for projection, gain in (("q_proj", 2.0), ("k_proj", 2.0), ("v_proj", 1.0), ("out_proj", 1.5)):
        made.linear(f"{prefix}.self_attn.{projection}", width, width, gain)
    made.linear(f"{prefix}.mlp.fc1", sizes.image_intermediate, width, 0.7, bias=-1.5)
    made.linear(f"{prefix}.mlp.fc2", width, sizes.image_intermediate, 8.0)


def _image_head(made: Weights, prefix: str, sizes: Sizes) -> None:
    width = sizes.image_hidden
    made.vector(f"{prefix}.probe", (1, 1, width), 0.0, 1.0)
    made.matrix(f"{prefix}.attention.in_proj_weight", (3 * width, width))
    made.vector(f"{prefix}.attention.in_proj_bias", (3 * width,), 0.0, 0.3)
    made.linear(f"{prefix}.attention.out_proj", width, width)
    made.norm(f"{prefix}.layernorm", width)
    made.linear(f"{prefix}.mlp.fc1", sizes.image_intermediate, width)
    made.linear(f"{prefix}.mlp.fc2", width, sizes.image_intermediate)


def speech_weights(sizes: Sizes, seed: int) -> dict[str, Array]:
    """The audio tower and its two projectors."""
    made, width, channels, tower = Weights(seed), sizes.audio_hidden, sizes.audio_channels, f"{AUDIO}.encoder"
    made.vector(f"{tower}.encoder_embedding.global_mean", (sizes.mels,), 12.0, 2.0)
    made.vector(f"{tower}.encoder_embedding.global_invstd", (sizes.mels,), 0.3, 0.1)
    made.convolution(f"{tower}.embed.conv.0", (channels, 1, 3, 3))
    for depthwise in (2, 5):
        made.convolution(f"{tower}.embed.conv.{depthwise}", (channels, 1, 3, 3))
        made.convolution(f"{tower}.embed.conv.{depthwise + 1}", (channels, channels, 1, 1))
    # Small, so that the first norm's epsilon matters.
    made.matrix(f"{tower}.embed.out.weight", (width, channels * (sizes.mels // 8)), 0.01)
    made.vector(f"{tower}.embed.out.bias", (width,), 0.0, 0.01)
    made.vector(
        f"{tower}.relative_attention_bias_layer.bias_values.weight",
        (2 * sizes.audio_bias_distance, sizes.audio_heads), 0.0, 3.0,
    )  # fmt: skip
    for block in range(sizes.audio_blocks):
        _audio_block(made, f"{tower}.encoders.{block}", sizes)
    for suffix in ("speech", "vision_speech"):
        made.linear(f"{AUDIO}.up_proj_for_{suffix}", sizes.hidden, width, 0.7, bias=-1.5)
        made.matrix(f"{AUDIO}.down_proj_for_{suffix}.weight", (sizes.hidden, sizes.hidden), 8.0 * STREAM)
        made.vector(f"{AUDIO}.down_proj_for_{suffix}.bias", (sizes.hidden,), 0.0, 0.3 * STREAM)
    return made.tensors


def _audio_block(made: Weights, prefix: str, sizes: Sizes) -> None:
    width, inner = sizes.audio_hidden, sizes.audio_intermediate
    for part in ("feed_forward_in", "feed_forward_out"):
        made.norm(f"{prefix}.{part}.layer_norm", width)
        made.linear(f"{prefix}.{part}.gate_up_proj", 2 * inner, width, 1.5)
        made.linear(f"{prefix}.{part}.down_proj", width, inner, 2.0)
    for projection, gain in (("q_proj", 1.5), ("k_proj", 1.5), ("v_proj", 1.0), ("o_proj", 2.0)):
        made.linear(f"{prefix}.self_attn.{projection}", width, width, gain)
    made.norm(f"{prefix}.conv.layer_norm", width)
    made.convolution(f"{prefix}.conv.glu.ext_pw_conv_1d", (2 * width, width, 1))
    made.vector(f"{prefix}.conv.glu.b1", (1, width, 1), 0.0, 0.5)
    made.vector(f"{prefix}.conv.glu.b2", (1, width, 1), 0.0, 0.5)
    made.convolution(f"{prefix}.conv.dw_sep_conv_1d.dw_conv", (width, 1, 3))
    made.convolution(f"{prefix}.conv.dw_sep_conv_1d.pw_conv", (width, width, 1))
    made.convolution(f"{prefix}.conv.ext_pw_conv_1d", (width, width, 1), 2.0)
    made.norm(f"{prefix}.layer_norm_att", width)
    made.norm(f"{prefix}.layer_norm", width)
