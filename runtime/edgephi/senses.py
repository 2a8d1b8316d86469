"""Pictures and clips of a request: from what the user gave to the rows the decoder reads.

Owns the order of work for media: read and check all of them, know how many rows they take, only then encode. Knows
nothing about prompts or the decoder.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephi.audio import load_audio
from edgephi.bundle import Bundle
from edgephi.encoders import SpeechEncoder, VisionEncoder
from edgephi.image import ImageViews, num_image_rows, split_views
from edgephi.mel import log_mel, num_audio_rows
from edgephi.mode import Projection, missing_modality
from edgephi.picture import load_image
from edgephi.session import DeviceOptions, open_session
from edgephi.stopping import never


@dataclass(frozen=True, slots=True)
class SeenPicture:
    """A picture cut into views, and how many decoder rows it becomes."""

    views: ImageViews
    num_rows: int


@dataclass(frozen=True, slots=True)
class HeardClip:
    """A clip's features, float32 [T, 80], and how many decoder rows it becomes."""

    mel: NDArray[np.float32]
    num_rows: int


class Senses:
    """The encoders a bundle has; each graph is loaded at its first use."""

    def __init__(self, bundle: Bundle, options: DeviceOptions) -> None:
        self._bundle = bundle
        self._vision: VisionEncoder | None = None
        self._speech: SpeechEncoder | None = None

        def opener(path: Any) -> Any:
            return open_session(path, options)

        if bundle.manifest.vision:
            self._vision = VisionEncoder(bundle, opener)
        if bundle.manifest.speech:
            self._speech = SpeechEncoder(bundle, opener)

    def close(self) -> None:
        """Free the encoders and their sessions; they cannot be used again."""
        self._vision = self._speech = None

    def prepare(self, images: Sequence[Any], audio: Sequence[Any]) -> list[SeenPicture | HeardClip]:
        """Read and check all media, pictures first; no encoder runs.

        Raises:
            ConfigError: A picture or clip cannot be used, or the bundle has no encoder for it.
        """
        return [*map(self._picture, images), *map(self._clip, audio)]

    def encode(
        self, item: SeenPicture | HeardClip, projection: Projection | None, should_stop: Callable[[], bool] = never
    ) -> NDArray[np.float32]:
        """float32 [num_rows, H]. `projection` is for clips; `should_stop` is asked before each view and window.

        Raises:
            Stopped: `should_stop` said so.
            ArtifactError: The encoder's graph is damaged.
        """
        if isinstance(item, SeenPicture):
            if self._vision is None:
                raise missing_modality("vision")
            return self._vision.encode(item.views, should_stop)
        if self._speech is None:
            raise missing_modality("speech")
        return self._speech.encode(item.mel, projection or "speech", should_stop)

    def _picture(self, source: Any) -> SeenPicture:
        info = self._bundle.manifest.vision
        if info is None:
            raise missing_modality("vision")
        views = split_views(
            load_image(source), crop_size=info.crop_size, patch_size=info.patch_size, max_crops=info.max_crops
        )
        return SeenPicture(views, num_image_rows(views))

    def _clip(self, source: Any) -> HeardClip:
        info = self._bundle.manifest.speech
        if info is None:
            raise missing_modality("speech")
        mel = log_mel(load_audio(source))
        return HeardClip(mel, num_audio_rows(len(mel), info.time_reduction))
