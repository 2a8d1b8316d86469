"""Small random checkpoints in the three layouts that `edgephi export` reads, written without torch.

The same seed gives the same weights in the
native and the original layout, and the same decoder in all three.

    native    phi4_multimodal   model.safetensors, speech-lora/, vision-lora/ (PEFT)
    original  phi4mm            two shards with an index, adapters inside under `lora_A.speech` and so on
    phi3      phi3              model.safetensors, text only
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from edgephi_bench.synthetic.configs import write_peft_config
from edgephi_bench.synthetic.sizes import Sizes
from support.sizes import SMALL, write_small_configs
from support.vocabulary import CHAT_TEMPLATE, special_id, write_tokenizer
from support.weights import ADAPTED, adapter_weights, decoder_weights, speech_weights, vision_weights

Layout = Literal["native", "original", "phi3"]
Dtype = Literal["float32", "bfloat16"]
Tensors = dict[str, NDArray[np.float32]]

#: Native name -> original name, applied in order to everything outside the decoder.
_ORIGINAL_NAMES = (
    (r"image_embed\.img_projection_up\.", "image_embed.img_projection.0."),
    (r"image_embed\.img_projection_down\.", "image_embed.img_projection.2."),
    (r"image_embed\.global_img_feature_extensor$", "image_embed.glb_GN"),
    (r"image_embed\.sub_img_feature_extensor$", "image_embed.sub_GN"),
    (r"\.(feed_forward_in|feed_forward_out)\.gate_up_proj\.", r".\1.net.0.linear."),
    (r"\.(feed_forward_in|feed_forward_out)\.down_proj\.", r".\1.net.2."),
    (r"(audio_embed\.encoder\.encoders\.\d+\.self_attn)\.([qkv])_proj\.", r"\1.linear_\2."),
    (r"(audio_embed\.encoder\.encoders\.\d+\.self_attn)\.o_proj\.", r"\1.linear_out."),
    (r"audio_embed\.up_proj_for_speech\.", "audio_embed.audio_projection.speech.0."),
    (r"audio_embed\.down_proj_for_speech\.", "audio_embed.audio_projection.speech.2."),
    (r"audio_embed\.up_proj_for_vision_speech\.", "audio_embed.audio_projection.vision.0."),
    (r"audio_embed\.down_proj_for_vision_speech\.", "audio_embed.audio_projection.vision.2."),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointSpec:
    """A written checkpoint: the folder, its layout and the numbers a test needs.

    Attributes:
        path: The checkpoint's folder.
        layout: Which of the three layouts it has.
        sizes: Every size of the model.
        image_token_id: The slot of an image; also present, unused, in the phi3 tokenizer.
        audio_token_id: The slot of audio.
        eos_token_ids: The ids that end a reply.
    """

    path: Path
    layout: Layout
    sizes: Sizes
    image_token_id: int
    audio_token_id: int
    eos_token_ids: tuple[int, ...]


def write_checkpoint(
    folder: Path, layout: Layout = "native", seed: int = 0, dtype: Dtype = "float32", sizes: Sizes | None = None
) -> CheckpointSpec:
    """Write a checkpoint into `folder`, which is made if missing.

    Args:
        folder: Where the files go.
        layout: Layout of names and files.
        seed: Another seed gives other weights.
        dtype: How tensors are stored. bfloat16 rounds the float32 values to nearest even.
        sizes: Sizes other than the small defaults, e.g. the public model's.
    """
    sizes = sizes or SMALL
    folder.mkdir(parents=True, exist_ok=True)
    {"native": _write_native, "original": _write_original, "phi3": _write_phi3}[layout](folder, sizes, seed, dtype)
    write_tokenizer(folder)
    return CheckpointSpec(
        path=folder,
        layout=layout,
        sizes=sizes,
        image_token_id=special_id("<|endoftext10|>"),
        audio_token_id=special_id("<|endoftext11|>"),
        eos_token_ids=(special_id("<|end|>"), special_id("<|endoftext|>")),
    )


def _write_native(folder: Path, sizes: Sizes, seed: int, dtype: Dtype) -> None:
    write_small_configs(folder, "phi4_multimodal", sizes, dtype)
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")
    _write_tensors(folder / "model.safetensors", _multimodal_weights(sizes, seed), dtype)
    for adapter, rank, alpha in _adapters(sizes):
        adapter_folder = folder / f"{adapter}-lora"
        adapter_folder.mkdir(exist_ok=True)
        write_peft_config(adapter_folder, rank, alpha)
        tensors = {}
        for name, (a, b) in adapter_weights(sizes, seed, adapter).items():
            tensors[f"base_model.model.{name}.lora_A.weight"] = a
            tensors[f"base_model.model.{name}.lora_B.weight"] = b
        _write_tensors(adapter_folder / "adapter_model.safetensors", tensors, dtype)


def _write_original(folder: Path, sizes: Sizes, seed: int, dtype: Dtype) -> None:
    write_small_configs(folder, "phi4mm", sizes, dtype)
    tensors = {original_name(name): value for name, value in _multimodal_weights(sizes, seed).items()}
    for adapter, _, _ in _adapters(sizes):
        for name, (a, b) in adapter_weights(sizes, seed, adapter).items():
            tensors[f"{name}.lora_A.{adapter}.weight"] = a
            tensors[f"{name}.lora_B.{adapter}.weight"] = b
    _write_shards(folder, tensors, dtype)


def _write_phi3(folder: Path, sizes: Sizes, seed: int, dtype: Dtype) -> None:
    write_small_configs(folder, "phi3", sizes, dtype)
    _write_tensors(folder / "model.safetensors", decoder_weights(sizes, seed), dtype)


def _adapters(sizes: Sizes) -> tuple[tuple[str, int, int], ...]:
    return (
        ("vision", sizes.vision_rank, sizes.vision_alpha),
        ("speech", sizes.speech_rank, sizes.speech_alpha),
    )


def _multimodal_weights(sizes: Sizes, seed: int) -> Tensors:
    return decoder_weights(sizes, seed) | vision_weights(sizes, seed) | speech_weights(sizes, seed)


def original_name(name: str) -> str:
    """The original layout's name of a native tensor."""
    for linear in ADAPTED:
        if re.fullmatch(rf"model\.layers\.\d+\.{re.escape(linear)}\.weight", name):
            return name.removesuffix(".weight") + ".base_layer.weight"
    for pattern, replacement in _ORIGINAL_NAMES:
        name = re.sub(pattern, replacement, name)
    return name


def _write_shards(folder: Path, tensors: Tensors, dtype: Dtype) -> None:
    """Two files and an index; neighbours land in different files, as layers may at a shard's end."""
    names = sorted(tensors)
    places = {}
    for number, part in enumerate((names[::2], names[1::2]), start=1):
        file_name = f"model-{number:05d}-of-00002.safetensors"
        _write_tensors(folder / file_name, {name: tensors[name] for name in part}, dtype)
        places |= dict.fromkeys(part, file_name)
    total = sum(value.size for value in tensors.values()) * _numpy_dtype(dtype).itemsize
    _write_json(
        folder / "model.safetensors.index.json",
        {"metadata": {"total_size": total}, "weight_map": dict(sorted(places.items()))},
    )


def _write_tensors(path: Path, tensors: Tensors, dtype: Dtype) -> None:
    """Write a safetensors file: the header's length in 8 bytes, the header as JSON, the data."""
    numpy_dtype, code = _numpy_dtype(dtype), {"float32": "F32", "bfloat16": "BF16"}[dtype]
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, value in tensors.items():
        start, end = end, end + value.size * numpy_dtype.itemsize
        header[name] = {"dtype": code, "shape": list(value.shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        for value in tensors.values():
            stream.write(value.astype(numpy_dtype).tobytes())


def _numpy_dtype(dtype: Dtype) -> np.dtype[Any]:
    return np.dtype(ml_dtypes.bfloat16 if dtype == "bfloat16" else np.float32)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
