"""Reads the language model's sizes and its rotary settings; the keys are the same in all three layouts.

Owns the rules of what the decoder graph supports. Knows nothing about tensors or the towers.
"""

from __future__ import annotations

import math

from edgephi.errors import ArtifactError
from edgephi.manifest import RopeInfo
from edgephi_export.config import DecoderConfig
from edgephi_export.fields import Fields

#: `su` is what LongRoPE was called before transformers 4.43 (Phi3Config._rope_scaling_adjustment).
_LONGROPE_NAMES = ("longrope", "su")
_LONGROPE_KEYS = {"type", "rope_type", "short_factor", "long_factor", "factor", "attention_factor"}


def read_decoder(config: Fields) -> DecoderConfig:
    """Sizes of the decoder.

    Raises:
        ArtifactError: A size is missing or wrong, or a setting changes the arithmetic in a way that is not supported.
    """
    config.require("hidden_act", "silu", "silu")
    config.require("tie_word_embeddings", True, False)
    for key in ("attention_bias", "mlp_bias", "lm_head_bias"):
        config.require(key, False, False)
    _check_sliding_window(config)
    hidden, heads = config.positive("hidden_size"), config.positive("num_attention_heads")
    decoder = DecoderConfig(
        hidden_size=hidden,
        intermediate_size=config.positive("intermediate_size"),
        num_layers=config.count("num_hidden_layers"),
        num_heads=heads,
        num_kv_heads=config.positive("num_key_value_heads", heads),
        head_size=config.positive("head_dim", hidden // heads),
        vocab_size=config.positive("vocab_size"),
        rms_norm_eps=config.positive_float("rms_norm_eps", 1e-5),
    )
    if decoder.num_heads % decoder.num_kv_heads:
        raise ArtifactError(
            f"{config.where}: num_attention_heads {heads} is not a multiple of "
            f"num_key_value_heads {decoder.num_kv_heads}"
        )
    return decoder


def _check_sliding_window(config: Fields) -> None:
    window, context = config.values.get("sliding_window"), config.positive("max_position_embeddings")
    if window is not None and config.positive("sliding_window") < context:
        raise ArtifactError(
            f"{config.where}: sliding_window {window} is shorter than the context {context}; that is not supported"
        )


def read_rope(config: Fields, head_size: int) -> RopeInfo:
    """Rotary settings, LongRoPE or plain.

    Raises:
        ArtifactError: Another rope type, an unknown setting, a wrong number of factors, or a width that the attention
            operator cannot rotate.
    """
    if "rope_parameters" in config.values:
        raise ArtifactError(
            f"{config.where}: rope_parameters is how transformers 5 writes positions; "
            "only rope_scaling, rope_theta and partial_rotary_factor of transformers 4 are read"
        )
    rotary_dim = int(head_size * config.get("partial_rotary_factor", float, 1.0))
    if rotary_dim < 16 or rotary_dim % 16:
        raise ArtifactError(
            f"{config.where}: {rotary_dim} rotated dimensions per head (head size {head_size} times "
            "partial_rotary_factor); ONNX Runtime's attention needs a multiple of 16"
        )
    context = config.positive("max_position_embeddings")
    if config.values.get("rope_scaling") is None:
        ones = (1.0,) * (rotary_dim // 2)
        short_factor, long_factor, attention_scale = ones, ones, 1.0
        original = config.positive("original_max_position_embeddings", context)
    else:
        scaling = config.section("rope_scaling")
        _check_scaling(scaling)
        short_factor, long_factor = scaling.floats("short_factor"), scaling.floats("long_factor")
        original = config.positive("original_max_position_embeddings")
        if original < 2:
            raise ArtifactError(f"{config.where}: original_max_position_embeddings is {original}; expected at least 2")
        attention_scale = scaling.positive_float("attention_factor", _attention_scale(context, original))
    try:
        return RopeInfo(
            rotary_dim=rotary_dim,
            theta=config.positive_float("rope_theta", 10000.0),
            original_max_positions=original,
            max_positions=context,
            short_factor=short_factor,
            long_factor=long_factor,
            attention_scale=attention_scale,
        )
    except ValueError as error:
        raise ArtifactError(f"{config.where}: rope_scaling: {error}") from error


def _check_scaling(scaling: Fields) -> None:
    kind = scaling.values.get("rope_type", scaling.values.get("type"))
    if kind not in _LONGROPE_NAMES:
        raise ArtifactError(f"{scaling.where}: unknown rope type {kind!r}; supported: {', '.join(_LONGROPE_NAMES)}")
    if unknown := sorted(scaling.values.keys() - _LONGROPE_KEYS):
        raise ArtifactError(f"{scaling.where}: unknown setting {unknown[0]!r}; it may change positions")


def _attention_scale(context: int, original: int) -> float:
    """sqrt(1 + ln(context/original) / ln(original)), LongRoPE section 3.3 (Ding et al. 2024, arXiv 2402.13753)."""
    stretch = context / original
    return 1.0 if stretch <= 1.0 else math.sqrt(1.0 + math.log(stretch) / math.log(original))
