"""How long images take on this machine: measured by every request that has one, and kept for `edgephi inspect`.

seconds of an image = seconds per patch * patches that are computed + seconds per position * positions
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from edgephi.base.hardware import cpu_name
from edgephi.base.measurements import MeasurementFile, measurement_key

#: Work that takes less is over before its rate rises above the noise.
_LEAST_S = 0.5
_FILE = MeasurementFile("images.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRates:
    """Seconds on this machine, None where no request measured them.

    Attributes:
        patch_s: Of one patch in the image encoder.
        position_s: Of one position in the prefill of a request with images.
    """

    patch_s: float | None
    position_s: float | None


class ImageRateRecord:
    """The rates of one model folder on this machine, those of the latest request.

    Args:
        manifest_sha256: Of the folder's manifest.
    """

    def __init__(self, manifest_sha256: str) -> None:
        self._manifest_sha256 = manifest_sha256

    @cached_property
    def _key(self) -> str:
        """Made when a rate is read or kept: a load, and a request that is over at once, need not name the processor."""
        return measurement_key(self._manifest_sha256, cpu_name())

    def read(self) -> ImageRates:
        """What is known."""
        return ImageRates(patch_s=_FILE.get(f"{self._key}.patch"), position_s=_FILE.get(f"{self._key}.position"))

    def add_encoding(self, patches: int, seconds: float) -> None:
        """Keep the rate of an encoding, if it took long enough."""
        self._add("patch", patches, seconds)

    def add_prefill(self, positions: int, seconds: float) -> None:
        """Keep the rate of a prefill, if it took long enough."""
        self._add("position", positions, seconds)

    def _add(self, unit: str, count: int, seconds: float) -> None:
        if count > 0 and seconds >= _LEAST_S:
            _FILE.put(f"{self._key}.{unit}", seconds / count)
