"""What an image will cost a model folder on this machine, before anything is loaded: `edgephi inspect --image`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgephi.bundle.bundle import Bundle
from edgephi.images.detail import Detail, check_detail, crop_limit
from edgephi.images.features import ImageFeatures
from edgephi.images.rates import ImageRateRecord, ImageRates
from edgephi.images.repeated_views import first_equal_views
from edgephi.media.processor import MediaProcessor
from edgephi.ort.session import DeviceOptions
from edgephi.prompt.routing import choose_route


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageForecast:
    """One image.

    Attributes:
        path: The file.
        columns: Crops side by side.
        rows: Crops one above the other.
        width: Pixels of the image as it is scaled into these crops.
        height: Likewise.
        tokens: Positions of the prompt.
        patches: Patches that the encoder computes, those of the overview included.
        encode_s: Seconds that the encoder will take; None where no request measured it on this machine.
        prefill_s: Seconds of the decoder for these positions, likewise.
    """

    path: str
    columns: int
    rows: int
    width: int
    height: int
    tokens: int
    patches: int
    encode_s: float | None
    prefill_s: float | None

    @property
    def seconds(self) -> float | None:
        """Both, None where one is not known."""
        return None if self.encode_s is None or self.prefill_s is None else self.encode_s + self.prefill_s

    def to_json(self) -> dict[str, Any]:
        """As one JSON object."""
        return {
            "path": self.path,
            "crops": {"columns": self.columns, "rows": self.rows},
            "width": self.width,
            "height": self.height,
            "tokens": self.tokens,
            "patches": self.patches,
            "expected_s": {"encode": self.encode_s, "prefill": self.prefill_s, "total": self.seconds},
        }


def forecast_images(
    model: str | Path, images: tuple[str, ...], max_crops: int | None, detail: Detail
) -> list[ImageForecast]:
    """Read images as a request would; no graph is loaded.

    Args:
        model: The model folder.
        images: Files.
        max_crops: As in `Request`.
        detail: As in `Request`.

    Raises:
        ConfigError: The folder takes no images, an image cannot be used, or an option is out of range.
        CapacityError: An image is larger than any request may hold.
        ArtifactError: The folder is missing, damaged or foreign.
    """
    check_detail(detail)
    bundle = Bundle(model)
    choose_route(bundle.manifest, num_images=len(images), num_audio=0)
    rates, media = ImageRateRecord(bundle.manifest_sha256).read(), MediaProcessor(bundle, DeviceOptions())
    read = media.prepare_each(images, (), crop_limit(detail, max_crops))
    return [
        _forecast(path, item, rates) for path, item in zip(images, read, strict=True) if isinstance(item, ImageFeatures)
    ]


def _forecast(path: str, item: ImageFeatures, rates: ImageRates) -> ImageForecast:
    views = item.views
    patches = sum(
        int(views.patch_mask[index].sum()) for index, first in enumerate(first_equal_views(views)) if index == first
    )
    return ImageForecast(
        path=path,
        columns=views.tile_columns,
        rows=views.tile_rows,
        width=views.width,
        height=views.height,
        tokens=item.num_rows,
        patches=patches,
        encode_s=None if rates.patch_s is None else rates.patch_s * patches,
        prefill_s=None if rates.position_s is None else rates.position_s * item.num_rows,
    )
