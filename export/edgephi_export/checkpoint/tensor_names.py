"""Canonical tensor names: what each layout calls a tensor, and the shape each must have.

embed_tokens.weight  norm.weight  layers.N.{self_attn.qkv_proj, mlp.down_proj, ...}.weight
layers.N.<linear>.{lora_A, lora_B}.{vision, speech}.weight
vision.{embeddings, layers.N, projector.{up, down}}.*   vision.{row_separator, global_separator}
speech.{mean, inverse_std, bias_values}  speech.{stem, blocks.N}.*  speech.projector.{speech, vision}.{up, down}.*
"""

from __future__ import annotations

import re

from edgephi.bundle.manifest import AdapterInfo
from edgephi_export.checkpoint.config import (
    ADAPTED_LINEARS,
    CheckpointLayout,
    DecoderConfig,
    ModelConfig,
    SpeechConfig,
    VisionConfig,
)

Shape = tuple[int, ...]
#: What GPTQ's files hold in place of a linear's weight.
GPTQ_PARTS = ("qweight", "qzeros", "scales", "g_idx")

_LINEAR = r"layers\.\d+\.(?:self_attn\.(?:qkv|o)_proj|mlp\.(?:gate_up|down)_proj)"
_IMAGE = r"model\.embed_tokens_extend\.image_embed\."
_AUDIO = r"model\.embed_tokens_extend\.audio_embed\."
_BLOCK = _AUDIO + r"encoder\.encoders\.(\d+)\."

_DECODER = (
    (r"model\.((?:embed_tokens|norm)\.weight)", r"\1"),
    (r"model\.(layers\.\d+\.(?:input|post_attention)_layernorm\.weight)", r"\1"),
    (r"(lm_head\.weight)", r"unused.\1"),
    (r"model\.((?:layers\.\d+\.self_attn\.)?rotary_emb\.\w*inv_freq)", r"unused.\1"),  # buffers of old releases
)
_PLAIN_LINEARS = ((rf"model\.({_LINEAR}\.weight)", r"\1"),)
_TOWERS = (
    (_IMAGE + r"img_processor\.(embeddings\..+)", r"vision.\1"),
    (_IMAGE + r"img_processor\.encoder\.(layers\..+)", r"vision.\1"),
    (_IMAGE + r"img_processor\.((?:post_layernorm|head)\..+)", r"unused.\1"),
    (_AUDIO + r"encoder\.encoder_embedding\.global_mean", "speech.mean"),
    (_AUDIO + r"encoder\.encoder_embedding\.global_invstd", "speech.inverse_std"),
    (_AUDIO + r"encoder\.embed\.(.+)", r"speech.stem.\1"),
    (_AUDIO + r"encoder\.relative_attention_bias_layer\.bias_values\.weight", "speech.bias_values"),
    (_BLOCK + r"((?:layer_norm|layer_norm_att|conv|feed_forward_(?:in|out)\.layer_norm)\..+)", r"speech.blocks.\1.\2"),
)
_ORIGINAL = (
    (rf"model\.({_LINEAR})\.base_layer\.weight", r"\1.weight"),
    (rf"model\.({_LINEAR}\.lora_[AB]\.(?:speech|vision)\.weight)", r"\1"),
    (_IMAGE + r"img_projection\.0\.(.+)", r"vision.projector.up.\1"),
    (_IMAGE + r"img_projection\.2\.(.+)", r"vision.projector.down.\1"),
    (_IMAGE + r"glb_GN", "vision.global_separator"),
    (_IMAGE + r"sub_GN", "vision.row_separator"),
    (_BLOCK + r"(feed_forward_(?:in|out))\.net\.0\.linear\.(.+)", r"speech.blocks.\1.\2.gate_up_proj.\3"),
    (_BLOCK + r"(feed_forward_(?:in|out))\.net\.2\.(.+)", r"speech.blocks.\1.\2.down_proj.\3"),
    (_BLOCK + r"self_attn\.linear_([qkv])\.(.+)", r"speech.blocks.\1.self_attn.\2_proj.\3"),
    (_BLOCK + r"self_attn\.linear_out\.(.+)", r"speech.blocks.\1.self_attn.o_proj.\2"),
    (_AUDIO + r"audio_projection\.(speech|vision)\.0\.(.+)", r"speech.projector.\1.up.\2"),
    (_AUDIO + r"audio_projection\.(speech|vision)\.2\.(.+)", r"speech.projector.\1.down.\2"),
)
_NATIVE = (
    (_IMAGE + r"img_projection_(up|down)\.(.+)", r"vision.projector.\1.\2"),
    (_IMAGE + r"global_img_feature_extensor", "vision.global_separator"),
    (_IMAGE + r"sub_img_feature_extensor", "vision.row_separator"),
    (_BLOCK + r"((?:self_attn|feed_forward_in|feed_forward_out)\.[a-z_]+_proj\..+)", r"speech.blocks.\1.\2"),
    (_AUDIO + r"(up|down)_proj_for_speech\.(.+)", r"speech.projector.speech.\1.\2"),
    (_AUDIO + r"(up|down)_proj_for_vision_speech\.(.+)", r"speech.projector.vision.\1.\2"),
)
_TABLES: dict[CheckpointLayout, tuple[tuple[str, str], ...]] = {
    "phi3": _DECODER + _PLAIN_LINEARS,
    "phi4_multimodal": _DECODER + _PLAIN_LINEARS + _TOWERS + _NATIVE,
    "phi4mm": _DECODER + _TOWERS + _ORIGINAL,
}
_RULES: dict[CheckpointLayout, tuple[tuple[re.Pattern[str], str], ...]] = {
    layout: tuple((re.compile(pattern), replacement) for pattern, replacement in rules)
    for layout, rules in _TABLES.items()
}
#: What data parallelism, torch.compile, PEFT and models around the model put in front of names when they are saved.
_WRAPPERS = re.compile(r"^(?:(?:module|_orig_mod|base_model\.model|language_model)\.)+")
#: PEFT writes the first prefix; the public conversion script of transformers leaves it out.
_PEFT = re.compile(rf"(?:base_model\.model\.)?model\.({_LINEAR})\.(lora_[AB])\.weight")


def canonical_name(layout: CheckpointLayout, name: str) -> str | None:
    """The canonical name of a checkpoint's tensor; None where the layout has no such tensor.

    The prefix `model.` may be missing, as where the model was saved without its head; those of wrappers may be there.
    Tensors that exist in real checkpoints but never matter come back as `unused.*`.
    """
    bare = _WRAPPERS.sub("", name)
    for spelled in (name, bare, f"model.{bare}"):
        for pattern, replacement in _RULES[layout]:
            if found := pattern.fullmatch(spelled):
                return found.expand(replacement)
    return None


def canonical_gptq_name(layout: CheckpointLayout, name: str) -> str | None:
    """As `canonical_name`, of a checkpoint in which linears may be stored as GPTQ's parts, such as `.qweight`."""
    stem, _, part = name.rpartition(".")
    if part not in GPTQ_PARTS:
        return canonical_name(layout, name)
    matrix = canonical_name(layout, f"{stem}.weight")
    return None if matrix is None else f"{matrix.removesuffix('weight')}{part}"


def canonical_peft_name(adapter: str, name: str) -> str | None:
    """The canonical name of a tensor in a native adapter folder; None where it is no decoder LoRA."""
    found = _PEFT.fullmatch(name)
    return f"{found[1]}.{found[2]}.{adapter}.weight" if found else None


def expected_shapes(config: ModelConfig) -> dict[str, Shape]:
    """Shape of every tensor that `config` needs, by canonical name."""
    shapes = _decoder_shapes(config.decoder)
    for adapter in config.adapters:
        shapes |= _adapter_shapes(config.decoder, adapter)
    if config.vision:
        shapes |= _vision_shapes(config.vision, config.decoder.hidden_size)
    if config.speech:
        shapes |= _speech_shapes(config.speech, config.decoder.hidden_size)
    return shapes


def _decoder_shapes(decoder: DecoderConfig) -> dict[str, Shape]:
    hidden = decoder.hidden_size
    shapes: dict[str, Shape] = {"embed_tokens.weight": (decoder.vocab_size, hidden), "norm.weight": (hidden,)}
    for layer in range(decoder.num_layers):
        shapes[f"layers.{layer}.input_layernorm.weight"] = (hidden,)
        shapes[f"layers.{layer}.post_attention_layernorm.weight"] = (hidden,)
        for linear in ADAPTED_LINEARS:
            shapes[f"layers.{layer}.{linear}.weight"] = decoder.linear_shape(linear)
    return shapes


def _adapter_shapes(decoder: DecoderConfig, adapter: AdapterInfo) -> dict[str, Shape]:
    shapes: dict[str, Shape] = {}
    for layer in range(decoder.num_layers):
        for linear in ADAPTED_LINEARS:
            outputs, inputs = decoder.linear_shape(linear)
            shapes[f"layers.{layer}.{linear}.lora_A.{adapter.name}.weight"] = (adapter.rank, inputs)
            shapes[f"layers.{layer}.{linear}.lora_B.{adapter.name}.weight"] = (outputs, adapter.rank)
    return shapes


def _affine(prefix: str, shape: Shape) -> dict[str, Shape]:
    return {f"{prefix}.weight": shape, f"{prefix}.bias": shape[:1]}


def _vision_shapes(vision: VisionConfig, hidden: int) -> dict[str, Shape]:
    width, inner = vision.hidden_size, vision.intermediate_size
    shapes = _affine("vision.embeddings.patch_embedding", (width, 3, vision.patch_size, vision.patch_size))
    shapes["vision.embeddings.position_embedding.weight"] = (vision.patches_per_side**2, width)
    for layer in range(vision.num_layers):
        prefix = f"vision.layers.{layer}"
        for norm in ("layer_norm1", "layer_norm2"):
            shapes |= _affine(f"{prefix}.{norm}", (width,))
        for projection in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes |= _affine(f"{prefix}.self_attn.{projection}", (width, width))
        shapes |= _affine(f"{prefix}.mlp.fc1", (inner, width)) | _affine(f"{prefix}.mlp.fc2", (width, inner))
    shapes |= _affine("vision.projector.up", (hidden, width)) | _affine("vision.projector.down", (hidden, hidden))
    shapes["vision.row_separator"] = (1, 1, 1, width)
    shapes["vision.global_separator"] = (1, 1, width)
    return shapes


def _speech_shapes(speech: SpeechConfig, hidden: int) -> dict[str, Shape]:
    width, channels = speech.hidden_size, speech.stem_channels
    shapes: dict[str, Shape] = {"speech.mean": (speech.num_mels,), "speech.inverse_std": (speech.num_mels,)}
    shapes |= _affine("speech.stem.conv.0", (channels, 1, 3, 3))
    for index in (2, 5):
        shapes |= _affine(f"speech.stem.conv.{index}", (channels, 1, 3, 3))
        shapes |= _affine(f"speech.stem.conv.{index + 1}", (channels, channels, 1, 1))
    shapes |= _affine("speech.stem.out", (width, channels * speech.stem_bands))
    shapes["speech.bias_values"] = (2 * speech.max_distance, speech.num_heads)
    for block in range(speech.num_blocks):
        shapes |= _block_shapes(f"speech.blocks.{block}", speech)
    for projection in ("speech", "vision"):
        shapes |= _affine(f"speech.projector.{projection}.up", (hidden, width))
        shapes |= _affine(f"speech.projector.{projection}.down", (hidden, hidden))
    return shapes


def _block_shapes(prefix: str, speech: SpeechConfig) -> dict[str, Shape]:
    width, inner = speech.hidden_size, speech.intermediate_size
    shapes = _affine(f"{prefix}.layer_norm", (width,)) | _affine(f"{prefix}.layer_norm_att", (width,))
    for part in ("feed_forward_in", "feed_forward_out"):
        shapes |= _affine(f"{prefix}.{part}.layer_norm", (width,))
        shapes |= _affine(f"{prefix}.{part}.gate_up_proj", (2 * inner, width))
        shapes |= _affine(f"{prefix}.{part}.down_proj", (width, inner))
    for projection in ("q_proj", "k_proj", "v_proj", "o_proj"):
        shapes |= _affine(f"{prefix}.self_attn.{projection}", (width, width))
    shapes |= _affine(f"{prefix}.conv.layer_norm", (width,))
    shapes |= _affine(f"{prefix}.conv.glu.ext_pw_conv_1d", (2 * width, width, 1))
    shapes |= {f"{prefix}.conv.glu.b1": (1, width, 1), f"{prefix}.conv.glu.b2": (1, width, 1)}
    shapes |= _affine(f"{prefix}.conv.dw_sep_conv_1d.dw_conv", (width, 1, speech.kernel_size))
    shapes |= _affine(f"{prefix}.conv.dw_sep_conv_1d.pw_conv", (width, width, 1))
    shapes |= _affine(f"{prefix}.conv.ext_pw_conv_1d", (width, width, 1))
    return shapes
