"""Reads rank and scale of the two LoRA adapters, from config.json or from PEFT's adapter_config.json."""

from __future__ import annotations

from pathlib import Path

from edgephi.base.errors import ArtifactError
from edgephi.bundle.manifest import AdapterInfo, EncoderName
from edgephi_export.checkpoint.json_fields import Fields


def read_original_adapter(config: Fields, name: EncoderName) -> AdapterInfo:
    """The adapter that `vision_lora` or `speech_lora` of config.json describes.

    Raises:
        ArtifactError: Absent or wrong.
    """
    lora = config.section(f"{name}_lora")
    return _info(name, lora)


def read_peft_adapter(folder: Path, name: EncoderName) -> AdapterInfo:
    """The adapter in a PEFT folder.

    Raises:
        ArtifactError: adapter_config.json is missing or wrong, or describes something other than plain LoRA.
    """
    if not folder.is_dir():
        modalities = "text,speech" if name == "vision" else "text,vision"
        raise ArtifactError(
            f"{folder}: missing from the checkpoint; download the {name} adapter, or leave it out: "
            f"--modalities {modalities}"
        )
    lora = Fields.load(folder / "adapter_config.json")
    lora.require("peft_type", "LORA", "LORA")
    lora.require("bias", "none", "none")
    for key in ("use_rslora", "use_dora", "fan_in_fan_out", "lora_bias"):
        lora.require(key, False, False)
    for key in ("rank_pattern", "alpha_pattern", "modules_to_save"):
        if lora.values.get(key):
            raise ArtifactError(f"{lora.where}: {key} is set; only one rank and scale for all layers is supported")
    return _info(name, lora)


def _info(name: EncoderName, lora: Fields) -> AdapterInfo:
    rank = lora.positive("r")
    try:
        return AdapterInfo(name=name, rank=rank, scale=lora.positive_float("lora_alpha") / rank)
    except ValueError as error:
        raise ArtifactError(f"{lora.where}: lora_alpha: {error}") from error
