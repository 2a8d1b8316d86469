"""Sizes of the small test model and the config files that state them.

The image tower has 16 heads and LayerNorm eps 1e-6 because the original layout does not state them: they are facts of
the public model, and every other size of the tower follows from tensor shapes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from support.vocabulary import special_id

ROTARY_FACTOR = 0.75
LONG_FACTORS = tuple(round(1.0 + 46.77 * (i / 23) ** 2, 4) for i in range(24))
#: Not all ones, as it is in the public checkpoints, so that ignoring it is noticed.
SHORT_FACTORS = tuple(round(1.0 + 0.02 * i, 4) for i in range(24))
LORA_LAYERS = r"layers.*((self_attn\.(qkv_proj|o_proj))|(mlp\.(gate_up|down)_proj))"
PEFT_TARGETS = r"model\.layers\.\d+\.(self_attn\.(qkv_proj|o_proj)|mlp\.(gate_up_proj|down_proj))"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Every number of the small model. The same axes as the public one, a few thousand times smaller."""

    hidden: int = 192
    intermediate: int = 256
    layers: int = 2
    heads: int = 3
    kv_heads: int = 1
    head_size: int = 64
    vocab: int = 400
    original_positions: int = 4096
    max_positions: int = 131072

    image_hidden: int = 64
    image_intermediate: int = 80
    image_layers: int = 3
    image_heads: int = 16
    crop: int = 56
    patch: int = 14
    max_crops: int = 36

    audio_hidden: int = 32
    audio_intermediate: int = 48
    audio_blocks: int = 2
    audio_heads: int = 2
    audio_channels: int = 16
    audio_bias_distance: int = 500
    mels: int = 80

    vision_rank: int = 8
    vision_alpha: int = 16
    speech_rank: int = 12
    speech_alpha: int = 36  # another scale than vision's, so that swapping them is noticed

    @property
    def qkv(self) -> int:
        """Rows of the packed query, key and value matrix."""
        return (self.heads + 2 * self.kv_heads) * self.head_size

    @property
    def patches_per_side(self) -> int:
        """Patches along one side of a crop."""
        return self.crop // self.patch


def decoder_config(sizes: Sizes) -> dict[str, Any]:
    """The keys that all three layouts share."""
    return {
        "attention_dropout": 0.0,
        "bos_token_id": special_id("<|endoftext|>"),
        "embd_pdrop": 0.0,
        "hidden_act": "silu",
        "hidden_size": sizes.hidden,
        "initializer_range": 0.02,
        "intermediate_size": sizes.intermediate,
        "max_position_embeddings": sizes.max_positions,
        "num_attention_heads": sizes.heads,
        "num_hidden_layers": sizes.layers,
        "num_key_value_heads": sizes.kv_heads,
        "original_max_position_embeddings": sizes.original_positions,
        "pad_token_id": special_id("<|endoftext|>"),
        "partial_rotary_factor": ROTARY_FACTOR,
        "resid_pdrop": 0.0,
        "rms_norm_eps": 1e-05,
        "rope_scaling": {
            "long_factor": list(LONG_FACTORS),
            "short_factor": list(SHORT_FACTORS),
            "type": "longrope",
        },
        "rope_theta": 10000.0,
        "sliding_window": 262144,
        "tie_word_embeddings": True,
        "use_cache": True,
        "vocab_size": sizes.vocab,
    }


def native_config(sizes: Sizes, dtype: str) -> dict[str, Any]:
    """config.json as transformers writes it for `phi4_multimodal`."""
    return decoder_config(sizes) | {
        "architectures": ["Phi4MultimodalForCausalLM"],
        "audio_config": _native_audio(sizes),
        "eos_token_id": [special_id("<|endoftext|>"), special_id("<|end|>")],
        "model_type": "phi4_multimodal",
        "torch_dtype": dtype,
        "transformers_version": "4.57.6",
        "vision_config": _native_vision(sizes),
    }


def _native_vision(sizes: Sizes) -> dict[str, Any]:
    return {
        "attention_dropout": 0.0,
        "crop_size": sizes.crop,
        "feature_layer": -2,
        "hidden_act": "gelu_pytorch_tanh",
        "hidden_size": sizes.image_hidden,
        "image_size": sizes.crop,
        "image_token_id": special_id("<|endoftext10|>"),
        "intermediate_size": sizes.image_intermediate,
        "layer_norm_eps": 1e-06,
        "model_type": "phi4_multimodal_vision",
        "num_attention_heads": sizes.image_heads,
        "num_channels": 3,
        "num_hidden_layers": sizes.image_layers,
        "patch_size": sizes.patch,
    }


def _native_audio(sizes: Sizes) -> dict[str, Any]:
    return {
        "activation": "swish",
        "audio_token_id": special_id("<|endoftext11|>"),
        "bias_max_distance": sizes.audio_bias_distance,
        "bias_symmetric": False,
        "chunk_size": -1,
        "conv_activation": "swish",
        "conv_glu_type": "swish",
        "depthwise_multiplier": 1,
        "depthwise_separable_out_channel": sizes.audio_hidden,
        "downsample_rate": 1,
        "dropout_rate": 0.0,
        "ext_pw_out_channel": sizes.audio_hidden,
        "feature_layer": -2,
        "hidden_size": sizes.audio_hidden,
        "initializer_range": 0.02,
        "input_size": sizes.mels,
        "intermediate_size": sizes.audio_intermediate,
        "kernel_size": 3,
        "left_chunk": 18,
        "model_type": "phi4_multimodal_audio",
        "nemo_activation": "relu",
        "nemo_conv_channels": sizes.audio_channels,
        "nemo_final_size": sizes.mels // 8,
        "num_attention_heads": sizes.audio_heads,
        "num_blocks": sizes.audio_blocks,
        "time_reduction": 8,
    }


def original_config(sizes: Sizes, dtype: str) -> dict[str, Any]:
    """config.json in the form of the hub's main branch, `phi4mm`."""
    return decoder_config(sizes) | {
        "_attn_implementation": "flash_attention_2",
        "_name_or_path": "Phi-4-multimodal-instruct",
        "architectures": ["Phi4MMForCausalLM"],
        "attention_bias": False,
        "audio_processor": {"config": _original_audio(sizes), "name": "cascades"},
        "auto_map": {
            "AutoConfig": "configuration_phi4mm.Phi4MMConfig",
            "AutoModelForCausalLM": "modeling_phi4mm.Phi4MMForCausalLM",
            "AutoTokenizer": "Xenova/gpt-4o",
        },
        "embd_layer": _original_embedding(sizes),
        "eos_token_id": special_id("<|endoftext|>"),
        "full_attn_mod": 1,
        "img_processor": None,
        "interpolate_factor": 1,
        "lm_head_bias": False,
        "mlp_bias": False,
        "model_type": "phi4mm",
        "speech_lora": {"dp": 0.01, "layer": LORA_LAYERS, "lora_alpha": sizes.speech_alpha, "r": sizes.speech_rank},
        "torch_dtype": dtype,
        "transformers_version": "4.46.1",
        "vision_lora": {"dp": 0.0, "layer": LORA_LAYERS, "lora_alpha": sizes.vision_alpha, "r": sizes.vision_rank},
    }


def _original_embedding(sizes: Sizes) -> dict[str, Any]:
    return {
        "audio_embd_layer": {
            "compression_rate": 8,
            "downsample_rate": 1,
            "embedding_cls": "audio",
            "enable_gradient_checkpointing": True,
            "projection_cls": "mlp",
            "use_conv_downsample": False,
            "use_qformer": False,
        },
        "embedding_cls": "image_audio",
        "image_embd_layer": {
            "crop_size": sizes.crop,
            "embedding_cls": "tune_image",
            "enable_gradient_checkpointing": True,
            "hd_transform_order": "sub_glb",
            "image_token_compression_cls": "avg_pool_2d",
            "projection_cls": "mlp",
            "use_hd_transform": True,
            "with_learnable_separator": True,
        },
    }


def _original_audio(sizes: Sizes) -> dict[str, Any]:
    return {
        "activation": "swish",
        "activation_checkpointing": {"interval": 1, "module": "transformer", "offload": False},
        "attention_dim": sizes.audio_hidden,
        "attention_heads": sizes.audio_heads,
        "batch_norm": False,
        "bias_in_glu": True,
        "causal": True,
        "chunk_size": -1,
        "cnn_layer_norm": True,
        "conv_activation": "swish",
        "conv_glu_type": "swish",
        "depthwise_multiplier": 1,
        "depthwise_seperable_out_channel": sizes.audio_hidden,
        "dropout_rate": 0.0,
        "encoder_embedding_config": {"input_size": sizes.mels},
        "ext_pw_kernel_size": 1,
        "ext_pw_out_channel": sizes.audio_hidden,
        "input_layer": "nemo_conv",
        "input_size": sizes.mels,
        "kernel_size": 3,
        "left_chunk": 18,
        "linear_units": sizes.audio_intermediate,
        "nemo_conv_settings": {"conv_channels": sizes.audio_channels},
        "num_blocks": sizes.audio_blocks,
        "relative_attention_bias_args": {"t5_bias_max_distance": sizes.audio_bias_distance, "type": "t5"},
        "time_reduction": 8,
    }


def phi3_config(sizes: Sizes, dtype: str) -> dict[str, Any]:
    """config.json in the form of Phi-4-mini-instruct, `phi3`."""
    return decoder_config(sizes) | {
        "architectures": ["Phi3ForCausalLM"],
        "attention_bias": False,
        "auto_map": {"AutoTokenizer": "Xenova/gpt-4o"},
        "eos_token_id": special_id("<|endoftext|>"),
        "full_attn_mod": 1,
        "interpolate_factor": 1,
        "lm_head_bias": False,
        "mlp_bias": False,
        "model_type": "phi3",
        "torch_dtype": dtype,
        "transformers_version": "4.45.0",
    }


def generation_config() -> dict[str, Any]:
    """generation_config.json, the same in all layouts."""
    return {
        "_from_model_config": True,
        "bos_token_id": special_id("<|endoftext|>"),
        "eos_token_id": [special_id("<|end|>"), special_id("<|endoftext|>")],
        "pad_token_id": special_id("<|endoftext|>"),
        "transformers_version": "4.57.6",
    }


def native_preprocessor(sizes: Sizes) -> dict[str, Any]:
    """preprocessor_config.json of the native layout."""
    return {
        "audio_compression_rate": 8,
        "audio_downsample_rate": 1,
        "audio_feat_stride": 1,
        "dynamic_hd": sizes.max_crops,
        "feature_extractor_type": "Phi4MultimodalFeatureExtractor",
        "feature_size": sizes.mels,
        "image_mean": [0.5, 0.5, 0.5],
        "image_processor_type": "Phi4MultimodalImageProcessorFast",
        "image_std": [0.5, 0.5, 0.5],
        "patch_size": sizes.patch,
        "processor_class": "Phi4MultimodalProcessor",
        "sampling_rate": 16000,
        "size": {"height": sizes.crop, "width": sizes.crop},
    }


def original_preprocessor(sizes: Sizes) -> dict[str, Any]:
    """preprocessor_config.json of the original layout."""
    return {
        "audio_compression_rate": 8,
        "audio_downsample_rate": 1,
        "audio_feat_stride": 1,
        "dynamic_hd": sizes.max_crops,
        "feature_extractor_type": "Phi4MMAudioFeatureExtractor",
        "image_processor_type": "Phi4MMImageProcessor",
        "processor_class": "Phi4MMProcessor",
    }


def peft_config(rank: int, alpha: int) -> dict[str, Any]:
    """adapter_config.json of a native adapter folder, as PEFT writes it."""
    return {
        "auto_mapping": None,
        "base_model_name_or_path": None,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": True,
        "lora_alpha": alpha,
        "lora_dropout": 0.0,
        "modules_to_save": None,
        "peft_type": "LORA",
        "r": rank,
        "target_modules": PEFT_TARGETS,
        "task_type": None,
        "use_dora": False,
        "use_rslora": False,
    }
