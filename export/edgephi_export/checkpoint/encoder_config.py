"""Reads the sizes of the image and audio towers, native and original layout.

Whatever the encoder graphs do not support is refused here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from edgephi.base.errors import ArtifactError
from edgephi_export.checkpoint.config import SpeechConfig, VisionConfig
from edgephi_export.checkpoint.json_fields import Fields

#: The reference encodes longer audio in windows of this many rows (`max_seq_len` in transformers 4.57's
#: Phi4MultimodalAudioModel.forward); no file states it.
_WINDOW_ROWS = 500
#: The original layout's code, not its config, holds these: SigLIP so400m (`get_siglip_vision_model`).
_SIGLIP_HEADS, _SIGLIP_NORM_EPS = 16, 1e-6

Shapes = Mapping[str, tuple[int, ...]]


def read_native_vision(config: Fields, max_crops: int) -> VisionConfig:
    """The image tower of `vision_config`; absent keys have transformers 4.57's defaults, as its files leave them out.

    Raises:
        ArtifactError: A wrong value, or a setting that is not supported.
    """
    vision = config.section("vision_config", {})
    vision.require("num_channels", 3, 3)
    vision.require("hidden_act", "gelu_pytorch_tanh", "gelu_pytorch_tanh")
    crop_size = vision.positive("crop_size", 448)
    vision.require("image_size", crop_size, 448)
    num_layers, feature_layer = vision.count("num_hidden_layers", 27), vision.get("feature_layer", int, -2)
    if not -num_layers <= feature_layer <= -1:
        raise ArtifactError(f"{vision.where}: feature_layer is {feature_layer}; expected {-num_layers} to -1")
    return _checked_vision(
        VisionConfig(
            hidden_size=vision.positive("hidden_size", 1152),
            intermediate_size=vision.positive("intermediate_size", 4304),
            num_layers=num_layers,
            num_used_layers=num_layers + 1 + feature_layer,
            num_heads=vision.positive("num_attention_heads", 16),
            patch_size=vision.positive("patch_size", 14),
            crop_size=crop_size,
            max_crops=max_crops,
            layer_norm_eps=vision.positive_float("layer_norm_eps", 1e-6),
        ),
        vision.where,
    )


def read_original_vision(config: Fields, max_crops: int, shapes: Shapes) -> VisionConfig:
    """The image tower of the original layout: crop size from the config, the other sizes from tensor shapes.

    The number of heads and the norm's epsilon are nowhere: 16 and 1e-6, as in the public tower, unless config.json has
    a `vision_config` with `num_attention_heads` and `layer_norm_eps`.

    Args:
        config: config.json.
        max_crops: From preprocessor_config.json.
        shapes: Shape of each tensor by canonical name.

    Raises:
        ArtifactError: A wrong value, an unsupported setting, or a tensor that the sizes are read from is missing.
    """
    image = config.section("embd_layer").section("image_embd_layer")
    image.require("hd_transform_order", "sub_glb", "sub_glb")
    image.require("image_token_compression_cls", "avg_pool_2d", "avg_pool_2d")
    image.require("use_hd_transform", True, True)
    image.require("with_learnable_separator", True, True)
    stated = config.section("vision_config", {})
    patch = _shape(shapes, "vision.embeddings.patch_embedding.weight", 4, config.where)
    inner = _shape(shapes, "vision.layers.0.mlp.fc1.weight", 2, config.where)
    layers = [int(found[1]) for name in shapes if (found := re.match(r"vision\.layers\.(\d{1,4})\.", name))]
    num_layers = max(layers) + 1
    return _checked_vision(
        VisionConfig(
            hidden_size=patch[0],
            intermediate_size=inner[0],
            num_layers=num_layers,
            num_used_layers=num_layers - 1,
            num_heads=stated.positive("num_attention_heads", _SIGLIP_HEADS),
            patch_size=patch[3],
            crop_size=image.positive("crop_size", 448),
            max_crops=max_crops,
            layer_norm_eps=stated.positive_float("layer_norm_eps", _SIGLIP_NORM_EPS),
        ),
        config.where,
    )


def _checked_vision(vision: VisionConfig, where: str) -> VisionConfig:
    if vision.hidden_size % vision.num_heads:
        raise ArtifactError(
            f"{where}: the image tower is {vision.hidden_size} wide, not a multiple of its {vision.num_heads} heads; "
            "state vision_config.num_attention_heads in config.json"
        )
    if vision.crop_size % (2 * vision.patch_size):
        raise ArtifactError(
            f"{where}: a crop of {vision.crop_size} pixels does not divide into an even number of patches of "
            f"{vision.patch_size}"
        )
    if vision.num_used_layers < 1:
        raise ArtifactError(f"{where}: the image tower has {vision.num_layers} layers; at least 2 are needed")
    return vision


def read_native_speech(config: Fields) -> SpeechConfig:
    """The audio tower of `audio_config`; absent keys have transformers 4.57's defaults, as its files leave them out.

    Raises:
        ArtifactError: A wrong value, or a setting that is not supported.
    """
    audio = config.section("audio_config", {})
    audio.require("nemo_activation", "relu", "relu")
    audio.require("bias_symmetric", False, False)
    audio.require("downsample_rate", 1, 1)
    audio.require("depthwise_separable_out_channel", audio.positive("hidden_size", 1024), 1024)
    return _speech(
        audio,
        hidden_size=audio.positive("hidden_size", 1024),
        intermediate_size=audio.positive("intermediate_size", 1536),
        num_heads=audio.positive("num_attention_heads", 16),
        stem_channels=audio.positive("nemo_conv_channels", 1024),
        max_distance=audio.positive("bias_max_distance", 1000),
    )


def read_original_speech(config: Fields) -> SpeechConfig:
    """The audio tower of `audio_processor.config`.

    Raises:
        ArtifactError: A wrong value, or a setting that is not supported.
    """
    audio = config.section("audio_processor").section("config")
    audio.require("input_layer", "nemo_conv", "nemo_conv")
    audio.require("causal", True, True)
    audio.require("batch_norm", False, False)
    audio.require("cnn_layer_norm", True, True)
    audio.require("bias_in_glu", True, True)
    audio.require("depthwise_seperable_out_channel", audio.positive("attention_dim"), None)
    embedding = config.section("embd_layer").section("audio_embd_layer")
    embedding.require("downsample_rate", 1, 1)
    embedding.require("use_qformer", False, False)
    embedding.require("use_conv_downsample", False, False)
    bias = audio.section("relative_attention_bias_args")
    bias.require("type", "t5", None)
    bias.require("t5_bias_symmetric", False, False)
    return _speech(
        audio,
        hidden_size=audio.positive("attention_dim"),
        intermediate_size=audio.positive("linear_units"),
        num_heads=audio.positive("attention_heads"),
        stem_channels=audio.section("nemo_conv_settings").positive("conv_channels"),
        max_distance=bias.positive("t5_bias_max_distance"),
    )


def _speech(
    audio: Fields, *, hidden_size: int, intermediate_size: int, num_heads: int, stem_channels: int, max_distance: int
) -> SpeechConfig:
    """Check the settings that both layouts call by the same name."""
    for key in ("activation", "conv_activation", "conv_glu_type"):
        audio.require(key, "swish", "swish")
    audio.require("chunk_size", -1, -1)
    audio.require("depthwise_multiplier", 1, 1)
    audio.require("time_reduction", 8, 8)
    audio.require("input_size", 80, 80)
    audio.require("ext_pw_out_channel", hidden_size, 1024)
    if hidden_size % num_heads:
        raise ArtifactError(f"{audio.where}: the width {hidden_size} is not a multiple of the {num_heads} heads")
    return SpeechConfig(
        hidden_size=hidden_size,
        intermediate_size=intermediate_size,
        num_blocks=audio.count("num_blocks", 24),
        num_heads=num_heads,
        stem_channels=stem_channels,
        num_mels=audio.get("input_size", int, 80),
        kernel_size=audio.positive("kernel_size", 3),
        time_reduction=audio.get("time_reduction", int, 8),
        max_distance=max_distance,
        window_rows=_WINDOW_ROWS,
    )


def _shape(shapes: Shapes, name: str, rank: int, where: str) -> tuple[int, ...]:
    shape = shapes.get(name)
    if shape is None or len(shape) != rank or math.prod(shape) == 0:
        raise ArtifactError(
            f"{where}: the image tower's sizes cannot be read: tensor {name} is "
            f"{'missing' if shape is None else f'of shape {list(shape)}'}; without it: --modalities text,speech"
        )
    return shape
