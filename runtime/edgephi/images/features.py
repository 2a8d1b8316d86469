"""An image as the vision encoder takes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from edgephi.images.crops import ImageViews
from edgephi.sources.media_content import MediaContent
from edgephi.sources.source import ImageSource


@dataclass(frozen=True, slots=True)
class ImageFeatures:
    """An image cut into views, and how many decoder rows it becomes."""

    views: ImageViews
    num_rows: int

    @property
    def content(self) -> MediaContent:
        """The arrays that the encoder gets, by the names that saved prefixes hold, whatever the fields are called."""
        views = self.views
        return MediaContent(
            kind="SeenPicture",
            arrays=(
                (".views.overview", views.overview),
                (".views.tiles", views.tiles),
                (".views.patch_mask", views.patch_mask),
            ),
            numbers=(
                (".views.tile_rows", views.tile_rows),
                (".views.tile_columns", views.tile_columns),
                (".num_rows", self.num_rows),
            ),
        )


#: An image of a prompt: a source, or the features that were computed from one before.
ImageInput: TypeAlias = "ImageSource | ImageFeatures"
