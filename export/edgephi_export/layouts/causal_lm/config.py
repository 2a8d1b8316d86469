"""config.json, generation_config.json and tokenizer_config.json, as transformers and transformers.js read them."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

from edgephi.bundle.manifest import RopeInfo
from edgephi_export.checkpoint.checkpoint import Checkpoint
from edgephi_export.checkpoint.config import ModelConfig
from edgephi_export.checkpoint.json_fields import Fields

CONFIG, GENERATION_CONFIG, TOKENIZER_CONFIG = "config.json", "generation_config.json", "tokenizer_config.json"
#: The class that any tokenizer.json fits.
_TOKENIZER_CLASS = "PreTrainedTokenizerFast"
_MODEL_INPUTS = ("input_ids", "attention_mask")


@dataclass(frozen=True, slots=True, kw_only=True)
class LongRope:
    """The three keys that Phi3Config allows."""

    type: str
    short_factor: tuple[float, ...]
    long_factor: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformersJsConfig:
    """The section of config.json that transformers.js reads.

    Attributes:
        dtype: The suffix of the graph's name, as `from_pretrained` takes it.
        graph: File name of the graph.
        num_files: The files of weights beside it.
    """

    dtype: str
    graph: str
    num_files: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CausalConfig:
    """All of config.json: a text model of the type phi3, with the keys of transformers' Phi3Config."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    max_position_embeddings: int
    original_max_position_embeddings: int
    partial_rotary_factor: float
    rope_theta: float
    rope_scaling: LongRope | None
    rms_norm_eps: float
    bos_token_id: int | None
    eos_token_id: tuple[int, ...]
    pad_token_id: int
    model_type: str = "phi3"
    architectures: tuple[str, ...] = ("Phi3ForCausalLM",)
    hidden_act: str = "silu"
    sliding_window: int | None = None
    tie_word_embeddings: bool = True
    torch_dtype: str = "float32"
    use_cache: bool = True

    def to_json(self, section: TransformersJsConfig | None = None) -> str:
        """The text of config.json, with the section of transformers.js where there is one."""
        values = dataclasses.asdict(self)
        if section is not None:
            files = {section.graph: section.num_files}
            values["transformers.js_config"] = {"dtype": section.dtype, "use_external_data_format": files}
        return _text(values)


def causal_config(config: ModelConfig) -> CausalConfig:
    """The configuration of a checkpoint's language model."""
    decoder, rope, tokens = config.decoder, config.rope, config.tokens
    return CausalConfig(
        vocab_size=decoder.vocab_size,
        hidden_size=decoder.hidden_size,
        intermediate_size=decoder.intermediate_size,
        num_hidden_layers=decoder.num_layers,
        num_attention_heads=decoder.num_heads,
        num_key_value_heads=decoder.num_kv_heads,
        max_position_embeddings=rope.max_positions,
        original_max_position_embeddings=rope.original_max_positions,
        partial_rotary_factor=rope.rotary_dim / decoder.head_size,
        rope_theta=rope.theta,
        rope_scaling=_long_rope(rope),
        rms_norm_eps=decoder.rms_norm_eps,
        bos_token_id=tokens.bos,
        eos_token_id=tokens.eos,
        pad_token_id=tokens.eos[0] if tokens.pad is None else tokens.pad,
    )


def generation_config(checkpoint: Checkpoint, config: CausalConfig) -> str:
    """The checkpoint's own generation_config.json, ending replies at every token that edgephi ends them at."""
    values = _own(checkpoint, GENERATION_CONFIG)
    ends = {"eos_token_id": config.eos_token_id, "pad_token_id": config.pad_token_id}
    return _text({**values, **ends} | ({} if config.bos_token_id is None else {"bos_token_id": config.bos_token_id}))


def tokenizer_config(checkpoint: Checkpoint) -> str:
    """The checkpoint's own tokenizer_config.json with the chat template that edgephi uses.

    transformers.js finds a template nowhere else. Without `model_input_names` the class of any tokenizer.json gives
    token types too, which `generate` refuses.
    """
    values = _own(checkpoint, TOKENIZER_CONFIG)
    values.setdefault("tokenizer_class", _TOKENIZER_CLASS)
    values.setdefault("model_input_names", _MODEL_INPUTS)
    return _text({**values, "chat_template": checkpoint.chat_template})


def _own(checkpoint: Checkpoint, name: str) -> dict[str, object]:
    path = checkpoint.path / name
    return dict(Fields.load(path).values) if path.is_file() else {}


def _long_rope(rope: RopeInfo) -> LongRope | None:
    if set(rope.short_factor) == set(rope.long_factor) == {1.0}:
        return None
    return LongRope(type="longrope", short_factor=rope.short_factor, long_factor=rope.long_factor)


def _text(values: dict[str, object]) -> str:
    return json.dumps(values, indent=1, ensure_ascii=False) + "\n"
