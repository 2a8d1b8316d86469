"""What a model is called, and what it can do, as answers say it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgephi import Model, __version__
from edgephi.bundle.bundle import MANIFEST_NAME
from edgephi.transcription.prompts import LANGUAGES


@dataclass(slots=True, kw_only=True)
class Identity:
    """A model's names and abilities; they change when its folder is loaded again.

    Attributes:
        name: In answers.
        folder: Where it lies.
        fingerprint: Changes with the model and the program.
        created: When its folder was made, in seconds since 1970.
    """

    name: str
    folder: Path
    fingerprint: str
    created: int

    @classmethod
    def of(cls, folder: Path, name: str | None) -> Identity:
        """That of a model folder."""
        manifest = folder / MANIFEST_NAME
        digest = hashlib.sha256(manifest.read_bytes() + __version__.encode()).hexdigest()
        return cls(
            name=name or folder.resolve().name,
            folder=folder,
            fingerprint=f"fp_{digest[:16]}",
            created=int(manifest.stat().st_mtime),
        )

    def become(self, fresh: Identity) -> None:
        """The folder holds another model now."""
        self.fingerprint, self.created = fresh.fingerprint, fresh.created

    @property
    def names(self) -> tuple[str, ...]:
        """What requests may call it without remark."""
        return (self.name,)

    def describe(self, model: Model) -> dict[str, Any]:
        """The model as `/v1/models` lists it."""
        manifest = model.manifest
        known = {"text": "text", "vision": "image", "speech": "audio"}
        described: dict[str, Any] = {
            "id": self.name,
            "object": "model",
            "created": self.created,
            "owned_by": "edgephi",
            "max_model_len": manifest.rope.max_positions,
            "architecture": {
                "input_modalities": ["text", *(known.get(m, m) for m in manifest.modalities if m != "text")],
                "output_modalities": ["text"],
            },
        }
        if "speech" in manifest.modalities:
            described["languages"] = list(LANGUAGES)
        return described
