"""The checksum that a model folder's description holds of itself, since no other file can vouch for it."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from edgephi.base.errors import ArtifactError

CHECKSUM = "checksum"


def with_checksum(raw: dict[str, Any]) -> dict[str, Any]:
    """The description with the checksum of its values as the last key; spaces and the order of keys do not count."""
    return {**raw, CHECKSUM: _checksum(raw)}


def check_checksum(raw: dict[str, Any], where: str) -> None:
    """Refuse values that are not those that were written; descriptions of older versions have no checksum.

    Raises:
        ArtifactError: A value was changed, by damage or by hand.
    """
    if CHECKSUM in raw and raw[CHECKSUM] != _checksum({key: raw[key] for key in raw.keys() - {CHECKSUM}}):
        raise ArtifactError(
            f"{where}: its values are not those that were written; copy the model again, or export it again "
            f"(if you changed them yourself, remove the {CHECKSUM!r})"
        )


def _checksum(raw: dict[str, Any]) -> str:
    text = json.dumps(raw, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
