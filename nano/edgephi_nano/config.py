"""Sizes of the demo model, as the checkpoint's config.json holds them.

They are those of the language model, the image encoder, the audio encoder and the two adapters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgephi_nano.tokenizer import AUDIO_SLOT, END, END_OF_TEXT, IMAGE_SLOT, VOCAB_SIZE, special_id

SAMPLE_RATE_HZ = 16_000
ADAPTER_TARGETS = r"model\.layers\.\d+\.(self_attn\.(qkv_proj|o_proj)|mlp\.(gate_up_proj|down_proj))"
"""Pattern of the decoder linears an adapter changes; the towers have layers of other names."""
ROTARY_PAIRS = 24  # head size 64 * partial_rotary_factor 0.75 / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterConfig:
    """One low-rank adapter of the decoder. Its effect is scaled by `alpha / rank`."""

    name: str
    rank: int
    alpha: int


VISION_ADAPTER = AdapterConfig(name="vision", rank=64, alpha=128)
SPEECH_ADAPTER = AdapterConfig(name="speech", rank=32, alpha=64)


def vision_config() -> dict[str, Any]:
    """Image tower: 168-pixel views, 12x12 patches, pooled to 6x6 rows."""
    return {
        "hidden_size": 128,
        "intermediate_size": 384,
        "num_hidden_layers": 6,
        "num_attention_heads": 4,
        "num_channels": 3,
        "image_size": 168,
        "crop_size": 168,
        "patch_size": 14,
        "hidden_act": "gelu_pytorch_tanh",
        "layer_norm_eps": 1e-5,
        "feature_layer": -2,
        "image_token_id": special_id(IMAGE_SLOT),
    }


def audio_config() -> dict[str, Any]:
    """Audio tower: 80 mel bins, one row per 80 ms."""
    return {
        "hidden_size": 160,
        "intermediate_size": 256,
        "num_blocks": 4,
        "num_attention_heads": 4,
        "ext_pw_out_channel": 160,
        "depthwise_separable_out_channel": 160,
        "depthwise_multiplier": 1,
        "kernel_size": 3,
        "nemo_conv_channels": 48,
        "input_size": 80,
        "time_reduction": 8,
        "bias_max_distance": 500,
        "bias_symmetric": False,
        "chunk_size": -1,
        "left_chunk": 18,
        "dropout_rate": 0.0,
        "audio_token_id": special_id(AUDIO_SLOT),
        "feature_layer": -2,
    }


def long_factors() -> list[float]:
    """Rotary stretch per frequency beyond 4096 positions: 1.0 for the fastest, 40.0 for the slowest."""
    return [round(40.0 ** (i / (ROTARY_PAIRS - 1)), 4) for i in range(ROTARY_PAIRS)]


def model_config() -> dict[str, Any]:
    """The whole checkpoint, in the native layout of `Phi4MultimodalForCausalLM`."""
    return {
        "architectures": ["Phi4MultimodalForCausalLM"],
        "model_type": "phi4_multimodal",
        "torch_dtype": "bfloat16",
        "vocab_size": VOCAB_SIZE,
        "hidden_size": 256,
        "intermediate_size": 640,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "hidden_act": "silu",
        "max_position_embeddings": 131072,
        "original_max_position_embeddings": 4096,
        "partial_rotary_factor": 0.75,
        "rope_theta": 10000.0,
        "rope_scaling": {"type": "longrope", "short_factor": [1.0] * ROTARY_PAIRS, "long_factor": long_factors()},
        "rms_norm_eps": 1e-5,
        "sliding_window": 262144,
        "tie_word_embeddings": True,
        "attention_dropout": 0.0,
        "embd_pdrop": 0.0,
        "resid_pdrop": 0.0,
        "initializer_range": 0.02,
        "use_cache": True,
        "bos_token_id": special_id(END_OF_TEXT),
        "eos_token_id": [special_id(END), special_id(END_OF_TEXT)],
        "pad_token_id": special_id(END_OF_TEXT),
        "vision_config": vision_config(),
        "audio_config": audio_config(),
    }


def generation_config() -> dict[str, Any]:
    """Greedy by default; stops on either end token."""
    return {
        "_from_model_config": True,
        "bos_token_id": special_id(END_OF_TEXT),
        "eos_token_id": [special_id(END), special_id(END_OF_TEXT)],
        "pad_token_id": special_id(END_OF_TEXT),
    }


def preprocessor_config() -> dict[str, Any]:
    """What the processor of the full-size model states, with this model's numbers."""
    return {
        "processor_class": "Phi4MultimodalProcessor",
        "image_processor_type": "Phi4MultimodalImageProcessorFast",
        "feature_extractor_type": "Phi4MultimodalFeatureExtractor",
        "dynamic_hd": 36,
        "size": {"height": 168, "width": 168},
        "patch_size": 14,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "audio_compression_rate": 8,
        "audio_downsample_rate": 1,
        "audio_feat_stride": 1,
        "feature_size": 80,
        "sampling_rate": SAMPLE_RATE_HZ,
    }
