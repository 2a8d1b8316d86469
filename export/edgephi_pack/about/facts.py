"""What the documents of a release are made of."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from edgephi.bundle.manifest import Manifest
from edgephi_pack.app.components import Components


def json_time(time: datetime) -> str:
    """A time in UTC as JSON documents have it."""
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AboutFacts:
    """A release as its documents describe it.

    Attributes:
        name: Of the product.
        version: Of the release.
        created: UTC.
        manifest: Of the model.
        manifest_sha256: Of its file.
        model_licence: The text of the model's licence.
        components: Of the application tree; None where the device has its own.
    """

    name: str
    version: str
    created: datetime
    manifest: Manifest
    manifest_sha256: str
    model_licence: str
    components: Components | None

    @property
    def model_licence_name(self) -> str:
        """The first line of the licence's text."""
        return next(line.strip() for line in self.model_licence.splitlines() if line.strip())
