"""Reads the language model's sizes and its rotary settings; the keys are the same in all three layouts.

Whatever the decoder graph does not support is refused here.
"""

from __future__ import annotations

import math
from typing import Any

from edgephi.base.errors import ArtifactError
from edgephi.bundle.manifest import RopeInfo
from edgephi_export.checkpoint.config import DecoderConfig
from edgephi_export.checkpoint.json_fields import Fields

#: `su` is what LongRoPE was called before transformers 4.43 (Phi3Config._rope_scaling_adjustment).
_LONGROPE_NAMES = ("longrope", "su")
_PLAIN = "default"
_FACTORS = ("short_factor", "long_factor")
#: transformers 4 writes these beside `rope_scaling`, 5 inside `rope_parameters` and some of them beside it as well.
_SHARED_KEYS = ("rope_theta", "partial_rotary_factor", "original_max_position_embeddings")
_ROPE_KEYS = {"type", "rope_type", "factor", "attention_factor", *_FACTORS, *_SHARED_KEYS}
#: Phi3Config's and Phi4MultimodalConfig's own default, in transformers 4.57 and 5.24.
_ORIGINAL_POSITIONS = 4096


def read_decoder(config: Fields) -> DecoderConfig:
    """Sizes of the decoder.

    Raises:
        ArtifactError: A size is missing or wrong, or a setting changes the arithmetic in a way that is not supported.
    """
    config.require("hidden_act", "silu", "silu")
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
    kinds = config.values.get("layer_types") or []
    if not isinstance(kinds, list) or any(kind != "full_attention" for kind in kinds):
        raise ArtifactError(f"{config.where}: layer_types is {kinds!r:.60}; only 'full_attention' is supported")


def read_rope(config: Fields, head_size: int) -> RopeInfo:
    """Rotary settings, LongRoPE or plain, as transformers 4 (`rope_scaling`) and 5 (`rope_parameters`) write them.

    Raises:
        ArtifactError: Another rope type, an unknown setting, a wrong number of factors, one setting with two values, or
            a width that the attention operator cannot rotate.
    """
    rope = _rope_settings(config)
    rotary_dim = int(head_size * rope.get("partial_rotary_factor", float, 1.0))
    if rotary_dim < 16 or rotary_dim % 16:
        raise ArtifactError(
            f"{config.where}: {rotary_dim} rotated dimensions per head (head size {head_size} times "
            "partial_rotary_factor); ONNX Runtime's attention needs a multiple of 16"
        )
    context = config.positive("max_position_embeddings")
    if rope.values["rope_type"] == _PLAIN:
        short_factor = long_factor = (1.0,) * (rotary_dim // 2)
        original, attention_scale = rope.positive("original_max_position_embeddings", context), 1.0
    else:
        short_factor, long_factor = map(rope.floats, _FACTORS)
        original = rope.positive("original_max_position_embeddings", _ORIGINAL_POSITIONS)
        if original < 2:
            raise ArtifactError(f"{config.where}: original_max_position_embeddings is {original}; expected at least 2")
        attention_scale = _attention_scale(rope, context, original)
    try:
        return RopeInfo(
            rotary_dim=rotary_dim,
            theta=rope.positive_float("rope_theta", 10000.0),
            original_max_positions=original,
            max_positions=context,
            short_factor=short_factor,
            long_factor=long_factor,
            attention_scale=attention_scale,
        )
    except ValueError as error:
        raise ArtifactError(f"{config.where}: rotary positions: {error}") from error


def _rope_settings(config: Fields) -> Fields:
    """Every rotary setting under one name, wherever it stands; `rope_type` is always there."""
    settings: dict[str, Any] = {}
    for name in ("rope_scaling", "rope_parameters"):
        section = config.section(name, {})
        for key, value in section.values.items():
            _check_setting(section, key, value)
            _put(settings, config, "rope_type" if key == "type" else key, value)
    for key in _SHARED_KEYS:
        _put(settings, config, key, config.values.get(key))
    if any(key in settings for key in _FACTORS) and settings.get("rope_type", _PLAIN) == _PLAIN:
        kind = settings.get("rope_type")
        raise ArtifactError(f"{config.where}: unknown rope type {kind!r} with factors; expected {_LONGROPE_NAMES[0]}")
    settings.setdefault("rope_type", _PLAIN)
    return Fields(settings, config.where)


def _check_setting(section: Fields, key: str, value: object) -> None:
    if key not in _ROPE_KEYS:
        raise ArtifactError(f"{section.where}: unknown setting {key!r}; it may change positions")
    if key in ("type", "rope_type") and value not in (None, _PLAIN, *_LONGROPE_NAMES):
        raise ArtifactError(f"{section.where}: unknown rope type {value!r}; supported: {', '.join(_LONGROPE_NAMES)}")


def _put(settings: dict[str, Any], config: Fields, key: str, value: object) -> None:
    """Add a setting; releases of transformers differ in which of two values they would take."""
    if value is None:
        return
    value = _LONGROPE_NAMES[0] if key == "rope_type" and value in _LONGROPE_NAMES else value
    if settings.setdefault(key, value) != value:
        raise ArtifactError(
            f"{config.where}: {key} is {settings[key]!r:.60} in one place and {value!r:.60} in another; make them equal"
        )


def _attention_scale(rope: Fields, context: int, original: int) -> float:
    """sqrt(1 + ln(context/original) / ln(original)), LongRoPE section 3.3 (Ding et al. 2024, arXiv 2402.13753)."""
    if rope.values.get("attention_factor") is not None:
        return rope.positive_float("attention_factor")
    stretch = context / original
    if not math.isclose(factor := rope.positive_float("factor", stretch), stretch, rel_tol=1e-6):
        raise ArtifactError(
            f"{rope.where}: factor is {factor:g}, but max_position_embeddings over original_max_position_embeddings is "
            f"{stretch:g}; transformers 5 would scale attention by the one, 4 by the other: make them equal"
        )
    return 1.0 if stretch <= 1.0 else math.sqrt(1.0 + math.log(stretch) / math.log(original))
