"""Names, shapes and the statistics of every tensor of a checkpoint, in the three layouts.

The spread of each tensor keeps a signal's size through a forward pass of any depth: a matrix has 1/sqrt(inputs), one
that adds to the residual stream is smaller by sqrt(2 * layers), and normalization weights lie around one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from edgephi_bench.synthetic.sizes import Layout, Sizes

ADAPTERS = ("speech", "vision")
_IMAGE = "model.embed_tokens_extend.image_embed"
_AUDIO = "model.embed_tokens_extend.audio_embed"
_STREAM = 0.03  # of the embedding: tied to the head, it makes logits of a spread near 1.7


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One stored tensor: normally distributed around `mean` with a standard deviation of `deviation`."""

    name: str
    shape: tuple[int, ...]
    mean: float
    deviation: float

    @property
    def num_values(self) -> int:
        """Entries of the tensor."""
        return math.prod(self.shape)

    @property
    def num_bytes(self) -> int:
        """Bytes as bfloat16."""
        return 2 * self.num_values


Specs = Iterator[TensorSpec]


def model_tensors(layout: Layout, sizes: Sizes) -> Specs:
    """Every tensor of the weight files in the checkpoint's own folder, in the model's order."""
    yield from _decoder(layout, sizes)
    if layout == "phi3":
        return
    native = layout == "phi4_multimodal"
    yield from _image_tower(sizes)
    yield from _image_ends(sizes, native=native)
    yield from _audio_tower(sizes, native=native)
    for use in ADAPTERS:
        suffix = "speech" if use == "speech" else "vision_speech"
        up = f"up_proj_for_{suffix}" if native else f"audio_projection.{use}.0"
        down = f"down_proj_for_{suffix}" if native else f"audio_projection.{use}.2"
        yield from _projector(f"{_AUDIO}.{up}", f"{_AUDIO}.{down}", sizes, sizes.audio_hidden)


def adapter_tensors(adapter: str, sizes: Sizes) -> Specs:
    """Every tensor of a native adapter folder, named as PEFT writes them."""
    for name, outputs, inputs, gain in _decoder_linears(sizes):
        yield from _lora(f"base_model.model.{name}", "", _rank(adapter, sizes), (outputs, inputs, gain))


def _decoder(layout: Layout, sizes: Sizes) -> Specs:
    yield TensorSpec("model.embed_tokens.weight", (sizes.vocab, sizes.hidden), 0.0, _STREAM)
    for name, outputs, inputs, gain in _decoder_linears(sizes):
        if name.endswith("qkv_proj"):
            layer = name.removesuffix(".self_attn.qkv_proj")
            yield _norm_weight(f"{layer}.input_layernorm", sizes.hidden)
            yield _norm_weight(f"{layer}.post_attention_layernorm", sizes.hidden)
        adapted = layout == "phi4mm"
        yield _matrix(f"{name}.base_layer.weight" if adapted else f"{name}.weight", (outputs, inputs), gain)
        for adapter in ADAPTERS if adapted else ():
            yield from _lora(name, f".{adapter}", _rank(adapter, sizes), (outputs, inputs, gain))
    yield _norm_weight("model.norm", sizes.hidden)


def _decoder_linears(sizes: Sizes) -> Iterator[tuple[str, int, int, float]]:
    """Name, outputs, inputs and gain."""
    residual = 1.0 / math.sqrt(2.0 * sizes.layers)
    for layer in range(sizes.layers):
        prefix = f"model.layers.{layer}"
        yield f"{prefix}.self_attn.qkv_proj", sizes.qkv, sizes.hidden, 1.0
        yield f"{prefix}.self_attn.o_proj", sizes.hidden, sizes.heads * sizes.head_size, residual
        yield f"{prefix}.mlp.gate_up_proj", 2 * sizes.intermediate, sizes.hidden, 1.0
        yield f"{prefix}.mlp.down_proj", sizes.hidden, sizes.intermediate, residual


def _rank(adapter: str, sizes: Sizes) -> int:
    return {"speech": sizes.speech_rank, "vision": sizes.vision_rank}[adapter]


def _lora(name: str, suffix: str, rank: int, linear: tuple[int, int, float]) -> Specs:
    """The pair A, B; the published scale of 2 makes it a fifth of the linear it corrects."""
    outputs, inputs, gain = linear
    yield _matrix(f"{name}.lora_A{suffix}.weight", (rank, inputs))
    yield _matrix(f"{name}.lora_B{suffix}.weight", (outputs, rank), 0.1 * gain)


def _matrix(name: str, shape: tuple[int, ...], gain: float = 1.0) -> TensorSpec:
    """The first axis is the output; the others are summed over."""
    return TensorSpec(name, shape, 0.0, gain / math.sqrt(math.prod(shape[1:])))


def _affine(name: str, shape: tuple[int, ...], gain: float = 1.0) -> Specs:
    yield _matrix(f"{name}.weight", shape, gain)
    yield TensorSpec(f"{name}.bias", shape[:1], 0.0, 0.02)


def _norm_weight(name: str, width: int) -> TensorSpec:
    return TensorSpec(f"{name}.weight", (width,), 1.0, 0.05)


def _norm(name: str, width: int) -> Specs:
    yield _norm_weight(name, width)
    yield TensorSpec(f"{name}.bias", (width,), 0.0, 0.02)


def _projector(up: str, down: str, sizes: Sizes, width: int) -> Specs:
    """Rows as large as the embedding's, whose places they take."""
    yield from _affine(up, (sizes.hidden, width))
    yield from _affine(down, (sizes.hidden, sizes.hidden), _STREAM)


def _image_tower(sizes: Sizes) -> Specs:
    width, tower = sizes.image_hidden, f"{_IMAGE}.img_processor"
    yield from _affine(f"{tower}.embeddings.patch_embedding", (width, 3, sizes.patch, sizes.patch))
    yield TensorSpec(f"{tower}.embeddings.position_embedding.weight", (sizes.patches_per_side**2, width), 0.0, 0.1)
    residual = 1.0 / math.sqrt(2.0 * sizes.image_layers)
    for layer in range(sizes.image_layers):
        prefix = f"{tower}.encoder.layers.{layer}"
        yield from _norm(f"{prefix}.layer_norm1", width)
        yield from _norm(f"{prefix}.layer_norm2", width)
        for projection, gain in (("q_proj", 1.0), ("k_proj", 1.0), ("v_proj", 1.0), ("out_proj", residual)):
            yield from _affine(f"{prefix}.self_attn.{projection}", (width, width), gain)
        yield from _affine(f"{prefix}.mlp.fc1", (sizes.image_intermediate, width))
        yield from _affine(f"{prefix}.mlp.fc2", (width, sizes.image_intermediate), residual)
    yield from _norm(f"{tower}.post_layernorm", width)
    yield from _image_head(f"{tower}.head", sizes)


def _image_head(prefix: str, sizes: Sizes) -> Specs:
    """SigLIP's pooling head: in the published files, used by nothing."""
    width = sizes.image_hidden
    yield TensorSpec(f"{prefix}.probe", (1, 1, width), 0.0, 1.0)
    yield _matrix(f"{prefix}.attention.in_proj_weight", (3 * width, width))
    yield TensorSpec(f"{prefix}.attention.in_proj_bias", (3 * width,), 0.0, 0.02)
    yield from _affine(f"{prefix}.attention.out_proj", (width, width))
    yield from _norm(f"{prefix}.layernorm", width)
    yield from _affine(f"{prefix}.mlp.fc1", (sizes.image_intermediate, width))
    yield from _affine(f"{prefix}.mlp.fc2", (width, sizes.image_intermediate))


def _image_ends(sizes: Sizes, *, native: bool) -> Specs:
    """Separators and projector."""
    whole, row = ("global_img_feature_extensor", "sub_img_feature_extensor") if native else ("glb_GN", "sub_GN")
    up, down = ("img_projection_up", "img_projection_down") if native else ("img_projection.0", "img_projection.2")
    yield TensorSpec(f"{_IMAGE}.{whole}", (1, 1, sizes.image_hidden), 0.0, 1.0)
    yield TensorSpec(f"{_IMAGE}.{row}", (1, 1, 1, sizes.image_hidden), 0.0, 1.0)
    yield from _projector(f"{_IMAGE}.{up}", f"{_IMAGE}.{down}", sizes, sizes.image_hidden)


def _audio_tower(sizes: Sizes, *, native: bool) -> Specs:
    width, channels, tower = sizes.audio_hidden, sizes.audio_channels, f"{_AUDIO}.encoder"
    # The mean and inverse deviation of log-mel features as speech has them.
    yield TensorSpec(f"{tower}.encoder_embedding.global_mean", (sizes.mels,), 12.0, 1.0)
    yield TensorSpec(f"{tower}.encoder_embedding.global_invstd", (sizes.mels,), 0.25, 0.02)
    relu = math.sqrt(2.0)
    yield from _affine(f"{tower}.embed.conv.0", (channels, 1, 3, 3), relu)
    for index in (2, 5):
        yield from _affine(f"{tower}.embed.conv.{index}", (channels, 1, 3, 3))
        yield from _affine(f"{tower}.embed.conv.{index + 1}", (channels, channels, 1, 1), relu)
    yield from _affine(f"{tower}.embed.out", (width, channels * (sizes.mels // 8)))
    distances = (2 * sizes.audio_bias_distance, sizes.audio_heads)
    yield TensorSpec(f"{tower}.relative_attention_bias_layer.bias_values.weight", distances, 0.0, 1.0)
    for block in range(sizes.audio_blocks):
        yield from _audio_block(f"{tower}.encoders.{block}", sizes, native=native)


def _audio_block(prefix: str, sizes: Sizes, *, native: bool) -> Specs:
    width, inner = sizes.audio_hidden, sizes.audio_intermediate
    gate_up, down = ("gate_up_proj", "down_proj") if native else ("net.0.linear", "net.2")
    for part in ("feed_forward_in", "feed_forward_out"):
        yield from _norm(f"{prefix}.{part}.layer_norm", width)
        yield from _affine(f"{prefix}.{part}.{gate_up}", (2 * inner, width))
        yield from _affine(f"{prefix}.{part}.{down}", (width, inner))
    for projection in ("q_proj", "k_proj", "v_proj", "o_proj") if native else ("q", "k", "v", "out"):
        linear = projection if native else f"linear_{projection}"
        yield from _affine(f"{prefix}.self_attn.{linear}", (width, width))
    yield from _norm(f"{prefix}.conv.layer_norm", width)
    yield from _affine(f"{prefix}.conv.glu.ext_pw_conv_1d", (2 * width, width, 1))
    for bias in ("b1", "b2"):
        yield TensorSpec(f"{prefix}.conv.glu.{bias}", (1, width, 1), 0.0, 0.02)
    yield from _affine(f"{prefix}.conv.dw_sep_conv_1d.dw_conv", (width, 1, 3))
    yield from _affine(f"{prefix}.conv.dw_sep_conv_1d.pw_conv", (width, width, 1))
    yield from _affine(f"{prefix}.conv.ext_pw_conv_1d", (width, width, 1))
    yield from _norm(f"{prefix}.layer_norm_att", width)
    yield from _norm(f"{prefix}.layer_norm", width)
