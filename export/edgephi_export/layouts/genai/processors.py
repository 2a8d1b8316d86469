"""vision_processor.json and speech_processor.json: how onnxruntime-genai reads images and audio.

The names of operators and of their attributes are those of onnxruntime-extensions, which runs them.
"""

from __future__ import annotations

import json
from typing import Any

#: Fourier transforms of recordings at 16 kHz, and of those at 8 kHz: size, window and step in samples.
_TRANSFORMS = {"": (512, 400, 160), "_8k": (256, 200, 80)}


def vision_processor(crop_size: int, max_crops: int) -> str:
    """The text of vision_processor.json.

    Args:
        crop_size: Pixels along a side of a view.
        max_crops: Tiles that an image is cut into, at most.
    """
    cut = {"dynamic_hd": max_crops, "dyhd_base_resolution": crop_size}
    views = {"dyhd_base_resolution": crop_size, "interpolation": "CUBIC"}
    cut_name = "phi4_vision_dynamic_preprocess"
    transforms = [
        _operation("decode_image", "DecodeImage", {"color_space": "RGB"}),
        _operation(cut_name, "Phi4VisionDynamicPreprocess", cut),
        _operation("rescale", "Rescale", inputs=[":0"]),
        _operation("normalize", "Normalize", {"mean": [0.5] * 3, "std": [0.5] * 3}),
        _operation("phi4_vision_processor", "Phi4VisionProcessor", views, [":0", f"{cut_name}:1"]),
    ]
    processor = {
        "name": "phi_4_vision_processor",
        "transforms": transforms,
        "output_aligner": "phi4-vision-aligner",
    }
    return _text({"processor": processor})


def speech_processor() -> str:
    """The text of speech_processor.json."""
    # Without `max_samples` the decoder drops all that comes after 30 s, and says nothing.
    decode = {"target_sample_rates": [8000, 16000], "max_samples": 0}
    features: dict[str, Any] = {"audio_compression_rate": 8}
    for suffix, (size, window, step) in _TRANSFORMS.items():
        transform = {"n_fft": size, "frame_length": window, "hop_length": step, "win_fn": "hamming"}
        # The bands of either are those of 16 kHz.
        bands = {"chunk_size": 30, "hop_length": step, "n_fft": 512, "n_mel": 80, "feature_first": 0, "no_padding": 1}
        features |= {f"stft_normal{suffix}/{key}": value for key, value in transform.items()}
        features |= {f"logmel{suffix}/{key}": value for key, value in bands.items()}
    sequence = [
        _operation("audio_decoder", "AudioDecoderEx", decode),
        _operation("phi_4_audio_embed", "Phi4AudioEmbed", features),
    ]
    return _text({"feature_extraction": {"sequence": sequence, "output_aligner": "phi4-audio-aligner"}})


def _operation(
    name: str, kind: str, attributes: dict[str, Any] | None = None, inputs: list[str] | None = None
) -> dict[str, Any]:
    operation: dict[str, Any] = {"name": name, "type": kind}
    if inputs is not None:
        operation["inputs"] = inputs
    if attributes is not None:
        operation["attrs"] = attributes
    return {"operation": operation}


def _text(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=1) + "\n"
