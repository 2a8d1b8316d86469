"""What config.json says of weights that another tool quantized: which checkpoints of codes are read, and which are not.

Read are GPTQ's files of 4 bits, as GPTQModel, AutoGPTQ and AutoRound write them:
https://github.com/ModelCloud/GPTQModel (`checkpoint_format`), https://github.com/intel/auto-round (`packing_format`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgephi.base.errors import ArtifactError
from edgephi_export.checkpoint.folder_check import TAKE_ORIGINAL
from edgephi_export.checkpoint.json_fields import Fields
from edgephi_quantize.formats import BLOCK_SIZES, BlockFormat

_BITS = 4
#: Whether zero points are stored as one less than they are, by `checkpoint_format`.
_FORMATS = {"gptq": True, "gptq_v2": False}
#: The same by AutoRound's `packing_format`.
_AUTO_ROUND = {"auto_round:auto_gptq": True, "auto_round:gptqmodel": False, "auto_round": False}
_METHODS = ("gptq", "auto-round", "intel/auto-round")
#: Settings that are read here, and those that say how codes were found, which they need not be read with.
_KNOWN = frozenset(
    (
        "quant_method", "method", "bits", "group_size", "sym", "desc_act", "checkpoint_format", "format",
        "packing_format", "pack_dtype", "data_type", "dynamic", "extra_config", "act_bits",
        "meta", "damp_percent", "damp_auto_increment", "static_groups", "true_sequential", "mse", "act_group_aware",
        "hyb_act", "model_name_or_path", "model_file_base_name", "dataset", "tokenizer", "batch_size", "model_seqlen",
        "block_name_to_quantize", "module_name_preceding_first_block", "modules_in_block_to_quantize",
        "cache_block_outputs", "exllama_config", "use_exllama", "disable_exllama", "use_cuda_fp16", "max_input_length",
        "backend", "pad_token_id", "provider", "autoround_version", "iters", "lr", "minmax_lr", "seqlen", "nsamples",
        "amp", "enable_quanted_input", "enable_minmax_tuning", "gradient_accumulate_steps", "low_gpu_mem_usage",
        "scale_dtype", "supported_types", "quant_block_list", "to_quant_block_names", "model_free",
        "static_attention_granularity", "static_kv_granularity", "offload_to_disk", "offload_to_disk_path",
    )
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class GptqConfig:
    """How the codes of a checkpoint are stored.

    Attributes:
        format: Bits, group size, and whether every zero point is the middle code.
        less_one: Zero points are stored as one less than they are.
    """

    format: BlockFormat
    less_one: bool


def read_quantization(config: Fields) -> GptqConfig | None:
    """How a checkpoint's weights are quantized; None where they are not.

    Args:
        config: config.json, whose model_type is known.

    Raises:
        ArtifactError: Another tool quantized them in a way that is not read. The message has its name.
    """
    stated = config.values.get("quantization_config") or config.values.get("quantization")
    if stated is None:
        return None
    method = _method(config, stated)
    if method not in _METHODS or config.values.get("model_type") != "phi3":
        raise ArtifactError(
            f"{config.where}: the checkpoint is quantized already ({method[:40]}, says quantization_config); "
            f"{TAKE_ORIGINAL}"
        )
    return _read(config.section("quantization_config"), method)


def _method(config: Fields, stated: Any) -> str:
    names = [stated.get(key) for key in ("quant_method", "method")] if isinstance(stated, dict) else []
    named = next((name for name in names if name is not None), None)
    if named is None:
        return "MLX" if "quantization" in config.values else "an unknown method"
    return str(named)


def _read(fields: Fields, method: str) -> GptqConfig:
    bits, size = fields.get("bits", int), fields.get("group_size", int)
    if bits != _BITS:
        raise _refusal(fields, f"bits is {bits}; of GPTQ checkpoints only 4 bits are read")
    if size not in BLOCK_SIZES:
        raise _refusal(fields, f"group_size is {size}; groups of 16, 32, 64, 128 or 256 are read")
    _check_settings(fields)
    symmetric = fields.get("sym", bool, False)
    format_ = BlockFormat(bits=bits, block_size=size, symmetric=symmetric)
    return GptqConfig(format_, _is_less_one(fields, method))


def _is_less_one(fields: Fields, method: str) -> bool:
    if method == "gptq":
        names = {fields.get(key, str) for key in ("checkpoint_format", "format") if fields.values.get(key) is not None}
        known, stated = _FORMATS, " and ".join(sorted(names)) or "gptq"
    else:
        known, stated = _AUTO_ROUND, fields.get("packing_format", str, "auto_round:auto_gptq")
    if stated not in known:
        raise _refusal(fields, f"the format of the codes is {stated[:60]!r}; {' and '.join(known)} are read")
    return known[stated]


def _check_settings(fields: Fields) -> None:
    """Refuse what changes the meaning of codes, and whatever is not known not to."""
    for key, value in fields.values.items():
        if key not in _KNOWN and value not in (None, False, "", {}, []):
            raise _refusal(fields, f"unknown setting {key[:60]!r}; it may change the meaning of the codes")
    for key, wanted in (("pack_dtype", "int32"), ("data_type", "int")):
        if (found := fields.get(key, str, wanted)) != wanted:
            raise _refusal(fields, f"{key} is {found[:40]!r}; only {wanted!r} is read")
    if (bits := fields.get("act_bits", int, 16)) < 16:
        raise _refusal(fields, f"act_bits is {bits}; quantized activations are not read")
    for key in ("dynamic", "extra_config"):
        for pattern, values in fields.section(key, {}).values.items():
            if not _leaves_floats(pattern, values):
                raise _refusal(fields, f"{key} gives {pattern[:60]!r} a format of its own; one format for all is read")


def _leaves_floats(pattern: str, values: object) -> bool:
    """Whether a rule only leaves linears unquantized: GPTQModel's `-:PATTERN`, AutoRound's 16 bits."""
    return pattern.startswith("-:") or (isinstance(values, dict) and values.get("bits") in (16, 32))


def _refusal(fields: Fields, what: str) -> ArtifactError:
    return ArtifactError(f"{fields.where}: {what}; {TAKE_ORIGINAL}")
