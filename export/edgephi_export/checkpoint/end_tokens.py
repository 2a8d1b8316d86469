"""Finds every token that ends a reply: in whichever of a checkpoint's files it is named, and in its chat template.

Fine-tuning often leaves one file that names only <|endoftext|>, while the model was taught to end its turns with
another token; a reply that does not stop there goes on with a made-up next turn.
"""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer

from edgephi.base.errors import ArtifactError, ConfigError
from edgephi.bundle.manifest import EndInfo
from edgephi.prompt.chat_template import ChatTemplate
from edgephi_export.checkpoint.json_fields import Fields
from edgephi_export.checkpoint.template_names import read_template_names

_GENERATION, _KEY = "generation_config.json", "eos_token_id"
_PROBE = "edgephiprobe"


def read_ends(config: Fields, folder: Path, tokenizer: Tokenizer, template: str) -> tuple[EndInfo, ...]:
    """The ends of a reply, those of generation_config.json first.

    Args:
        config: config.json.
        folder: The checkpoint.
        tokenizer: Its tokenizer.json.
        template: Its chat template.

    Raises:
        ArtifactError: A file is damaged, or nothing names an end.
    """
    named: dict[int, list[str]] = {}
    if (folder / _GENERATION).is_file():
        for token_id in Fields.load(folder / _GENERATION).token_ids(_KEY):
            named.setdefault(token_id, []).append(_GENERATION)
    for token_id in config.token_ids(_KEY):
        named.setdefault(token_id, []).append("config.json")
    names = {name.name: name.content for name in read_template_names(folder)}
    spelled = {"eos_token": names.get("eos_token"), "chat template": _turn_end(template, names, tokenizer)}
    for where, text in spelled.items():
        if text is not None and (found_id := tokenizer.token_to_id(text)) is not None:
            named.setdefault(found_id, []).append(where)
    if not named:
        raise ArtifactError(
            f"{folder}: nothing names the token that ends a reply: no {_KEY} in {_GENERATION} or config.json, no "
            "eos_token in tokenizer_config.json, none in the chat template; a reply would never end"
        )
    return tuple(
        EndInfo(id=token_id, text=tokenizer.id_to_token(token_id) or "", named_by=tuple(dict.fromkeys(found)))
        for token_id, found in named.items()
    )


def _turn_end(template: str, names: dict[str, str], tokenizer: Tokenizer) -> str | None:
    """The token that the template puts behind what an assistant says; None where it puts none."""
    turns = [{"role": "user", "content": "one"}, {"role": "assistant", "content": _PROBE}]
    try:
        text = ChatTemplate(template, "chat template", names).render(turns, is_open=False)
    except (ArtifactError, ConfigError):  # it may be written for something else than a plain answer
        return None
    _, found, rest = text.rpartition(_PROBE)
    spellings = [token.content for token in tokenizer.get_added_tokens_decoder().values()]
    ends = [spelling for spelling in spellings if spelling and found and rest.lstrip().startswith(spelling)]
    return max(ends, key=len, default=None)
