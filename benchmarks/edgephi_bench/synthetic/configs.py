"""config.json and its neighbours, as the published checkpoints have them.

`auto_map` is left out: it names Python files of the hub's repositories, which a synthetic checkpoint has none of.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgephi_bench.synthetic.sizes import Layout, Sizes

#: The published rope_scaling.long_factor; short_factor is ones.
_LONG_FACTORS = (
    1, 1.118320672, 1.250641126, 1.398617824, 1.564103225, 1.74916897, 1.956131817, 2.187582649, 2.446418898,
    2.735880826, 3.059592084, 3.421605075, 3.826451687, 4.279200023, 4.785517845, 5.351743533, 5.984965424,
    6.693110555, 7.485043894, 8.370679318, 9.36110372, 10.4687158, 11.70738129, 13.09260651, 14.64173252,
    16.37415215, 18.31155283, 20.47818807, 22.90118105, 25.61086418, 28.64115884, 32.03, 32.1, 32.13, 32.23, 32.6,
    32.61, 32.64, 32.66, 32.7, 32.71, 32.93, 32.97, 33.28, 33.49, 33.5, 44.16, 47.77,
)  # fmt: skip
_LORA_LAYERS = r"layers.*((self_attn\.(qkv_proj|o_proj))|(mlp\.(gate_up|down)_proj))"
#: The id of a special token in the checkpoint's vocabulary.
SpecialId = Callable[[str], int]
_PEFT_TARGETS = r"model\.layers\.\d+\.(self_attn\.(qkv_proj|o_proj)|mlp\.(gate_up_proj|down_proj))"


def write_configs(folder: Path, layout: Layout, sizes: Sizes, special_id: SpecialId) -> None:
    """Write config.json, generation_config.json and, for the multimodal layouts, preprocessor_config.json."""
    specific = {"phi3": _phi3, "phi4mm": _original, "phi4_multimodal": _native}[layout](sizes, special_id)
    write_json(folder / "config.json", _decoder(sizes, special_id) | specific)
    write_json(folder / "generation_config.json", _generation(special_id))
    if layout == "phi4mm":
        write_json(folder / "preprocessor_config.json", _preprocessor("Phi4MM", sizes))
    elif layout == "phi4_multimodal":
        write_json(folder / "preprocessor_config.json", _native_preprocessor(sizes))


def write_peft_config(folder: Path, rank: int, alpha: int) -> None:
    """Write the adapter_config.json of a native adapter folder."""
    settings = {
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
        "target_modules": _PEFT_TARGETS,
        "task_type": None,
        "use_dora": False,
        "use_rslora": False,
    }
    write_json(folder / "adapter_config.json", settings)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write one settings file."""
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _decoder(sizes: Sizes, special_id: SpecialId) -> dict[str, Any]:
    """The keys that all layouts share."""
    end_of_text = special_id("<|endoftext|>")
    return {
        "attention_dropout": 0.0,
        "bos_token_id": end_of_text,
        "embd_pdrop": 0.0,
        "eos_token_id": end_of_text,
        "hidden_act": "silu",
        "hidden_size": sizes.hidden,
        "initializer_range": 0.02,
        "intermediate_size": sizes.intermediate,
        "max_position_embeddings": sizes.max_positions,
        "num_attention_heads": sizes.heads,
        "num_hidden_layers": sizes.layers,
        "num_key_value_heads": sizes.kv_heads,
        "original_max_position_embeddings": sizes.original_positions,
        "pad_token_id": end_of_text,
        "partial_rotary_factor": 0.75,
        "resid_pdrop": 0.0,
        "rms_norm_eps": 1e-05,
        "rope_scaling": {
            "long_factor": long_factors(sizes.rotary_factors),
            "short_factor": [1.0] * sizes.rotary_factors,
            "type": "longrope",
        },
        "rope_theta": 10000.0,
        "sliding_window": 262144,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "use_cache": True,
        "vocab_size": sizes.vocab,
    }


def long_factors(count: int) -> list[float]:
    """The published factors; for another head size, the same curve at another density."""
    last = max(count - 1, 1)
    return [float(_LONG_FACTORS[i * (len(_LONG_FACTORS) - 1) // last]) for i in range(count)]


#: What the configuration classes of the hub's own repositories add.
_OWN_CLASS = {
    "attention_bias": False,
    "full_attn_mod": 1,
    "interpolate_factor": 1,
    "lm_head_bias": False,
    "mlp_bias": False,
}


def _phi3(sizes: Sizes, special_id: SpecialId) -> dict[str, Any]:  # noqa: ARG001 - one signature for the three
    return _OWN_CLASS | {
        "architectures": ["Phi3ForCausalLM"],
        "model_type": "phi3",
        "transformers_version": "4.45.0",
    }


def _original(sizes: Sizes, special_id: SpecialId) -> dict[str, Any]:  # noqa: ARG001
    return _OWN_CLASS | {
        "_attn_implementation": "flash_attention_2",
        "_name_or_path": "Phi-4-multimodal-instruct",
        "architectures": ["Phi4MMForCausalLM"],
        "audio_processor": {"config": _original_audio(sizes), "name": "cascades"},
        "embd_layer": {
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
        },
        "img_processor": None,
        "model_type": "phi4mm",
        "speech_lora": _lora(sizes.speech_rank, sizes.speech_alpha, 0.01),
        "transformers_version": "4.46.1",
        "vision_lora": _lora(sizes.vision_rank, sizes.vision_alpha, 0.0),
    }


def _lora(rank: int, alpha: int, dropout: float) -> dict[str, Any]:
    return {"dp": dropout, "layer": _LORA_LAYERS, "lora_alpha": alpha, "r": rank}


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


def _native(sizes: Sizes, special_id: SpecialId) -> dict[str, Any]:
    return {
        "architectures": ["Phi4MultimodalForCausalLM"],
        "audio_config": _native_audio(sizes, special_id),
        "eos_token_id": [special_id("<|endoftext|>"), special_id("<|end|>")],
        "model_type": "phi4_multimodal",
        "transformers_version": "4.57.6",
        "vision_config": {
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
        },
    }


def _native_audio(sizes: Sizes, special_id: SpecialId) -> dict[str, Any]:
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


def _generation(special_id: SpecialId) -> dict[str, Any]:
    return {
        "_from_model_config": True,
        "bos_token_id": special_id("<|endoftext|>"),
        "eos_token_id": [special_id("<|end|>"), special_id("<|endoftext|>")],
        "pad_token_id": special_id("<|endoftext|>"),
        "transformers_version": "4.57.6",
    }


def _preprocessor(prefix: str, sizes: Sizes) -> dict[str, Any]:
    return {
        "audio_compression_rate": 8,
        "audio_downsample_rate": 1,
        "audio_feat_stride": 1,
        "dynamic_hd": sizes.max_crops,
        "feature_extractor_type": f"{prefix}AudioFeatureExtractor",
        "image_processor_type": f"{prefix}ImageProcessor",
        "processor_class": f"{prefix}Processor",
    }


def _native_preprocessor(sizes: Sizes) -> dict[str, Any]:
    return _preprocessor("Phi4Multimodal", sizes) | {
        "feature_extractor_type": "Phi4MultimodalFeatureExtractor",
        "feature_size": sizes.mels,
        "image_mean": [0.5, 0.5, 0.5],
        "image_processor_type": "Phi4MultimodalImageProcessorFast",
        "image_std": [0.5, 0.5, 0.5],
        "patch_size": sizes.patch,
        "sampling_rate": 16000,
        "size": {"height": sizes.crop, "width": sizes.crop},
    }
