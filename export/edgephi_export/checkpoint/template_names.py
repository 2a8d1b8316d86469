"""The special tokens that a chat template can name: `bos_token` and its kind, from the tokenizer's own settings."""

from __future__ import annotations

from pathlib import Path

from edgephi.base.errors import ArtifactError
from edgephi.bundle.manifest import TemplateName
from edgephi_export.checkpoint.json_fields import Fields

_NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
#: What transformers' GPT2Tokenizer, the class of these models, takes where its settings say nothing.
_CLASS_DEFAULTS = dict.fromkeys(("bos_token", "eos_token", "unk_token"), "<|endoftext|>")


def read_template_names(folder: Path) -> tuple[TemplateName, ...]:
    """Variables of every rendering, as transformers gives them.

    tokenizer_config.json counts before special_tokens_map.json; a token that is null there has no name.

    Raises:
        ArtifactError: A file is damaged, or a token is neither text nor an object with its content.
    """
    stated: dict[str, object] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        if (folder / name).is_file():
            fields = Fields.load(folder / name)
            if str(fields.values.get("tokenizer_class", "")).startswith("GPT2Tokenizer"):
                stated = {**_CLASS_DEFAULTS, **stated}
            stated |= {key: _content(value, key, fields.where) for key, value in fields.values.items() if key in _NAMES}
    return tuple(
        TemplateName(name=name, content=content) for name in _NAMES if isinstance(content := stated.get(name), str)
    )


def _content(value: object, key: str, where: str) -> str | None:
    if isinstance(value, dict):
        value = value.get("content")
    if value is not None and not isinstance(value, str):
        raise ArtifactError(f"{where}: {key} is {value!r:.60}; it must be text")
    return value
