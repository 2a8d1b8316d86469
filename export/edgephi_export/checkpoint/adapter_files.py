"""The files beside an adapter's weights: a chat template of its own, which must be the base's."""

from __future__ import annotations

from pathlib import Path

from edgephi.base.errors import ArtifactError
from edgephi_export.checkpoint.json_fields import Fields
from edgephi_export.checkpoint.special_tokens import read_chat_template

_TEMPLATE, _HOLDERS = "chat_template.jinja", ("chat_template.json", "tokenizer_config.json")


def check_same_template(adapter: Path, base: Path) -> None:
    """Refuse an adapter whose folder has another chat template than its base: only one of them can be exported.

    Raises:
        ArtifactError: They differ, or the base has none.
    """
    if adapter.samefile(base) or not _has_template(adapter):
        return
    if read_chat_template(adapter).strip() != read_chat_template(base).strip():
        raise ArtifactError(
            f"{adapter}: its chat template is not that of {base}, and a model folder has one; put the one that counts "
            "into both, as chat_template.jinja"
        )


def _has_template(folder: Path) -> bool:
    """PEFT saves a tokenizer beside an adapter, with or without a template."""
    holders = [folder / name for name in _HOLDERS if (folder / name).is_file()]
    return (folder / _TEMPLATE).is_file() or any(Fields.load(path).values.get("chat_template") for path in holders)
