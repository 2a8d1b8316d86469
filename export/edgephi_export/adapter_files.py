"""What else lies in an adapter's folder: a chat template of its own, which must be the base's."""

from __future__ import annotations

from pathlib import Path

from edgephi.errors import ArtifactError
from edgephi_export.tokens import read_chat_template

_TEMPLATE_FILES = ("chat_template.jinja", "chat_template.json", "tokenizer_config.json")


def check_same_template(adapter: Path, base: Path) -> None:
    """Refuse an adapter whose folder has another chat template than its base: only one of them can be exported.

    Raises:
        ArtifactError: They differ, or the base has none.
    """
    if adapter.samefile(base) or not any((adapter / name).is_file() for name in _TEMPLATE_FILES):
        return
    try:
        own = read_chat_template(adapter)
    except ArtifactError:  # a tokenizer without a template, as PEFT writes for base models
        return
    if own.strip() != read_chat_template(base).strip():
        raise ArtifactError(
            f"{adapter}: its chat template is not that of {base}, and a model folder has one; put the one that counts "
            "into both, as chat_template.jinja"
        )
