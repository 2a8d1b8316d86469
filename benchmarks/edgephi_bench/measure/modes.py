"""The modes in which a model folder answers."""

from __future__ import annotations

from edgephi.bundle.manifest import Manifest
from edgephi.prompt.routing import Route, available_routes


def modes(manifest: Manifest) -> tuple[str, ...]:
    """`text`, `speech` and `vision`, as far as the folder answers in them by its own rule: those that are measured."""
    return tuple(route.mode for route in routes(manifest) if not (route.has_images and route.has_audio))


def routes(manifest: Manifest) -> tuple[Route, ...]:
    """Every mode of the folder, the one with an image and audio included."""
    return available_routes(manifest)
