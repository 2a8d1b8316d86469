"""Reads token ids, the tokenizer and the chat template of a checkpoint.

No id is a constant here: they come from the files.
"""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer

from edgephi.base.errors import ArtifactError
from edgephi.bundle.manifest import TokenInfo
from edgephi.prompt.chat_template import check_template
from edgephi_export.checkpoint.config import Modality
from edgephi_export.checkpoint.end_tokens import read_ends
from edgephi_export.checkpoint.json_fields import Fields
from edgephi_export.checkpoint.template_names import read_template_names

#: What Phi-4-multimodal's tokenizer calls the slots; the original layout's config does not state their ids.
_SLOT_TOKENS = {"vision": "<|endoftext10|>", "speech": "<|endoftext11|>"}
_SLOT_KEYS = {"vision": ("vision_config", "image_token_id"), "speech": ("audio_config", "audio_token_id")}


def read_tokens(config: Fields, folder: Path, modalities: tuple[Modality, ...]) -> TokenInfo:
    """Ids with a meaning, from config.json, generation_config.json, the tokenizer's files and the chat template.

    Raises:
        ArtifactError: A file is missing or damaged, an id is missing, outside the vocabulary, or stated differently in
            two files.
    """
    tokenizer = _load_tokenizer(folder / "tokenizer.json")
    ends = read_ends(config, folder, tokenizer, read_chat_template(folder))
    tokens = TokenInfo(
        bos=config.token_id("bos_token_id"),
        pad=config.token_id("pad_token_id"),
        eos=tuple(end.id for end in ends),
        image=_slot(config, tokenizer, "vision") if "vision" in modalities else None,
        audio=_slot(config, tokenizer, "speech") if "speech" in modalities else None,
        ends=ends,
    )
    _check_ids(tokens, tokenizer, config)
    return tokens


def _load_tokenizer(path: Path) -> Tokenizer:
    if not path.is_file():
        raise ArtifactError(f"{path}: missing from the checkpoint")
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises bare Exception
        raise ArtifactError(f"{path}: not a tokenizer ({error})") from error


def _slot(config: Fields, tokenizer: Tokenizer, modality: str) -> int:
    section, key = _SLOT_KEYS[modality]
    stated = config.section(section, {}).token_id(key)
    listed = tokenizer.token_to_id(_SLOT_TOKENS[modality])
    if stated is not None and listed is not None and stated != listed:
        raise ArtifactError(
            f"{config.where}: {section}.{key} is {stated}, but tokenizer.json gives {_SLOT_TOKENS[modality]} "
            f"the id {listed}; the files do not belong together"
        )
    if stated is not None:
        return stated
    if listed is None:
        raise ArtifactError(f"{config.where}: no {section}.{key}, and tokenizer.json has no {_SLOT_TOKENS[modality]}")
    return int(listed)


def _check_ids(tokens: TokenInfo, tokenizer: Tokenizer, config: Fields) -> None:
    vocab_size = config.positive("vocab_size")
    largest = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=0)
    if largest >= vocab_size:
        raise ArtifactError(f"{config.where}: vocab_size is {vocab_size}, but tokenizer.json has the id {largest}")
    for token_id in (tokens.bos, tokens.pad, *tokens.eos, tokens.image, tokens.audio):
        if token_id is not None and token_id >= vocab_size:
            raise ArtifactError(f"{config.where}: token id {token_id} is outside the vocabulary of {vocab_size}")


def read_chat_template(folder: Path) -> str:
    """The chat template from chat_template.jinja, chat_template.json or tokenizer_config.json, in this order.

    Raises:
        ArtifactError: None of them has one, or a file is damaged.
    """
    path = folder / "chat_template.jinja"
    if path.is_file():
        try:
            return _checked_template(path.read_text(encoding="utf-8"), str(path), folder)
        except (OSError, UnicodeDecodeError) as error:
            raise ArtifactError(f"{path}: cannot be read ({error})") from error
    for name in ("chat_template.json", "tokenizer_config.json"):
        if (folder / name).is_file():
            fields = Fields.load(folder / name)
            if fields.values.get("chat_template") is not None:
                return _template(fields, folder)
    raise ArtifactError(
        f"{folder}: no chat template: not in chat_template.jinja or .json, nor in tokenizer_config.json"
    )


def _template(fields: Fields, folder: Path) -> str:
    """The template, or the one called `default` of a list of them."""
    value = fields.values["chat_template"]
    if isinstance(value, list):
        templates = (item for item in value if isinstance(item, dict))
        value = next((item.get("template") for item in templates if item.get("name") == "default"), None)
    if not isinstance(value, str):
        raise ArtifactError(f"{fields.where}: chat_template is neither text nor a list with a default")
    return _checked_template(value, fields.where, folder)


def _checked_template(source: str, where: str, folder: Path) -> str:
    """Refuse a template that the runtime could not use, before the weights are written."""
    if not source.strip():
        raise ArtifactError(f"{where}: the chat template is empty")
    try:
        source.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ArtifactError(f"{where}: the chat template is not valid Unicode ({error.reason})") from error
    check_template(source, where, {name.name: name.content for name in read_template_names(folder)})
    return source
