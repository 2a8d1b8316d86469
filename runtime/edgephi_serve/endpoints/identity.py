"""The name of a model and what it can do, as answers state it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from msgspec import UNSET

from edgephi import Model, __version__
from edgephi.bundle.bundle import MANIFEST_NAME
from edgephi.transcription.prompts import LANGUAGES
from edgephi_serve.wire.models import Architecture, ModelBody


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
        """Its names in requests."""
        return (self.name,)

    def describe(self, model: Model, max_context: int | None) -> ModelBody:
        """The model as `/v1/models` lists it, with the context that it was loaded with."""
        manifest = model.manifest
        longest = manifest.rope.max_positions
        named = {"vision": "image", "speech": "audio"}
        return ModelBody(
            id=self.name,
            created=self.created,
            max_model_len=longest if max_context is None else min(longest, max_context),
            architecture=Architecture(
                input_modalities=["text", *(named.get(one, one) for one in manifest.modalities if one != "text")],
                output_modalities=["text"],
            ),
            languages=list(LANGUAGES) if "speech" in manifest.modalities else UNSET,
        )
