"""Images and audio of a request, from their sources to the embedding rows that the decoder takes.

All media are read and checked, and their numbers of rows known, before any encoder runs.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from edgephi.audio.decoding import load_audio
from edgephi.audio.features import AudioFeatures, AudioInput
from edgephi.audio.log_mel import log_mel, num_audio_rows
from edgephi.base.cancellation import never
from edgephi.base.errors import ConfigError
from edgephi.base.numbers import is_whole
from edgephi.bundle.bundle import Bundle
from edgephi.bundle.manifest import EncoderName
from edgephi.images.crops import num_image_rows, split_views
from edgephi.images.decoding import load_image
from edgephi.images.features import ImageFeatures, ImageInput
from edgephi.images.rates import ImageRateRecord
from edgephi.media.encoders import Parts, SpeechEncoder, VisionEncoder, ignore_step
from edgephi.ort.memory_budget import check_budget
from edgephi.ort.memory_check import check_graph_fits, weight_bytes
from edgephi.ort.session import DeviceOptions, open_session
from edgephi.sources.source import media_name

Encoder = TypeVar("Encoder", VisionEncoder, SpeechEncoder)


class MediaProcessor:
    """The encoders a bundle has; each graph is loaded at its first use."""

    def __init__(self, bundle: Bundle, options: DeviceOptions) -> None:
        def opener(path: Path) -> Any:
            graph = path.relative_to(bundle.files.folder).as_posix()
            if options.opened.is_host:
                check_graph_fits(bundle, graph, ignore=options.ignore_memory)
                check_budget(path, weight_bytes(bundle, graph), options.memory_bytes)
            return open_session(path, options, bundle=bundle)

        vision, speech = bundle.manifest.vision, bundle.manifest.speech
        self._vision = (
            None
            if vision is None
            else VisionEncoder(bundle, vision, opener, ImageRateRecord(bundle.manifest_sha256).add_encoding)
        )
        self._speech = None if speech is None else SpeechEncoder(bundle, speech, opener)

    def close(self) -> None:
        """Free the encoders and their sessions; they cannot be used again."""
        self._vision = self._speech = None

    def prepare(
        self, images: Sequence[ImageInput], audio: Sequence[AudioInput], max_crops: int | None = None
    ) -> list[ImageFeatures | AudioFeatures]:
        """Read and check all media; see `prepare_each`."""
        return list(self.prepare_each(images, audio, max_crops))

    def prepare_each(
        self, images: Sequence[ImageInput], audio: Sequence[AudioInput], max_crops: int | None = None
    ) -> Iterator[ImageFeatures | AudioFeatures]:
        """Read and check media as they are asked for, images first; no encoder runs.

        `choose_route` has found an encoder for each.

        Args:
            images: Sources of `load_image`, or features.
            audio: Sources of `load_audio`, or features. Features are returned as they are.
            max_crops: Most crops of each image, 1 to the model's own number; None for that. An image that would
                take more is scaled down as the model's rule does it, only with this number.

        Raises:
            ConfigError: An image or recording cannot be used, or `max_crops` is out of range.
            CapacityError: An image or recording is larger than any request may hold.
        """
        crops = self._crops(max_crops)
        return itertools.chain((self._image(source, crops) for source in images), map(self.audio, audio))

    def num_steps(self, item: ImageFeatures | AudioFeatures) -> int:
        """Views or windows that `encode` takes for it."""
        if isinstance(item, ImageFeatures):
            return len(item.views)
        return _usable(self._speech).num_windows(item.num_rows)

    def encode(
        self,
        item: ImageFeatures | AudioFeatures,
        projection: EncoderName | None,
        should_stop: Callable[[], bool] = never,
        on_step: Callable[[], None] = ignore_step,
        parts: Parts | None = None,
    ) -> NDArray[np.float32]:
        """float32 [num_rows, H]. `projection` is for audio; `should_stop` is asked before and during each view and
        window, `on_step` is called before each; `parts` as in `VisionEncoder.encode`.

        Raises:
            Stopped: `should_stop` returned True.
            ArtifactError: The encoder's graph is damaged.
        """
        if isinstance(item, ImageFeatures):
            return _usable(self._vision).encode(item.views, should_stop, on_step, parts)
        return _usable(self._speech).encode(item.mel, projection or "speech", should_stop, on_step, parts)

    def _crops(self, wanted: int | None) -> int | None:
        """The number of crops asked for, if this model can do it."""
        own = None if self._vision is None else self._vision.info.max_crops
        if wanted is None:
            return own
        if not (is_whole(wanted) and 1 <= wanted <= (own or wanted)):
            most = "or more" if own is None else f"to {own}, this model's own number"
            raise ConfigError(f"max_crops is {wanted!r}; use 1 {most}")
        return wanted

    def _image(self, source: ImageInput, max_crops: int | None) -> ImageFeatures:
        if isinstance(source, ImageFeatures):
            return source
        info = _usable(self._vision).info
        image, crops = load_image(source), max_crops or info.max_crops
        try:
            views = split_views(image, crop_size=info.crop_size, patch_size=info.patch_size, max_crops=crops)
        except ConfigError as error:
            named = f"{media_name(source, 'image')}: " if isinstance(source, str | Path | bytes) else ""
            raise ConfigError(f"{named}{error}") from None
        return ImageFeatures(views, num_image_rows(views))

    def audio(self, source: AudioInput) -> AudioFeatures:
        """Read and check one audio input; features are returned as they are.

        Raises:
            ConfigError: It cannot be used.
            CapacityError: It is longer than any request may hold.
        """
        if isinstance(source, AudioFeatures):
            return source
        info = _usable(self._speech).info
        mel = log_mel(load_audio(source))
        return AudioFeatures(mel, num_audio_rows(len(mel), info.time_reduction))


def _usable(encoder: Encoder | None) -> Encoder:
    """A request for an encoder that the bundle lacks was refused before, so one that is not there was closed."""
    if encoder is None:
        raise ConfigError("this model is closed; load it again")
    return encoder
