"""A folder of recordings and images: each file is an item, its path in the folder is the id."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath

from edgephi_batch.items import Item, MediaRef
from edgephi_batch.storage import resolve

#: With sound that the extra `media` reads.
_FILM = frozenset([".webm", ".mp4", ".mov", ".mkv"])
AUDIO = _FILM | {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".aac", ".aif", ".aiff", ".au", ".caf"}
IMAGES = frozenset([".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".heic"])


def is_media(name: str, *, with_images: bool) -> bool:
    """Whether a file is an item, by the end of its name."""
    suffix = PurePath(name).suffix.lower()
    return suffix in AUDIO or (with_images and suffix in IMAGES)


def folder_items(folder: str, names: list[str]) -> Iterator[Item]:
    """An item for each of the files."""
    for name in names:
        media = (MediaRef(place=resolve(name, folder)),)
        is_image = PurePath(name).suffix.lower() in IMAGES
        yield Item(id=name, images=media if is_image else (), audio=() if is_image else media)
