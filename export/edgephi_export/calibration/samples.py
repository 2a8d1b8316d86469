"""The user's own files for the calibration of an int8 cache: texts, images and audio.

A file's kind is found by its content, and a file that cannot be used is refused before an export begins.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from edgephi.audio.decoding import load_audio
from edgephi.base.errors import ConfigError
from edgephi.images.crops import plan_crops
from edgephi.images.decoding import load_image
from edgephi.prompt.messages import MEDIA_TAG
from edgephi.prompt.routing import missing_modality
from edgephi.sources.source import open_media
from edgephi_export.checkpoint.config import VisionConfig

#: About seventeen prompts: what reads in minutes on a small machine, with each adapter.
_MOST_TEXT_BYTES = 1 << 16
#: More takes gigabytes of keys and values, and says little more about their ranges.
_MOST_AUDIO_S = 60
#: Characters of one prompt: about a thousand tokens.
_PIECE = 4000


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationFiles:
    """The user's calibration files, by their kind.

    Attributes:
        texts: Pieces of prompt size.
        images: Paths.
        recordings: Paths.
    """

    texts: tuple[str, ...] = ()
    images: tuple[Path, ...] = ()
    recordings: tuple[Path, ...] = ()

    def check(self, modalities: Iterable[str]) -> None:
        """Refuse media of a kind that the bundle will not take in.

        Raises:
            ConfigError: There are some.
        """
        held = set(modalities)
        if self.images and "vision" not in held:
            raise ConfigError(f"--calibration {self.images[0]}: an image, but {missing_modality('vision')}")
        if self.recordings and "speech" not in held:
            raise ConfigError(f"--calibration {self.recordings[0]}: audio, but {missing_modality('speech')}")

    def check_shapes(self, vision: VisionConfig | None) -> None:
        """Refuse images of a shape that the model cannot be shown.

        Raises:
            ConfigError: There are some.
        """
        if vision is None:
            return
        for path in self.images:
            image = load_image(path)
            try:
                plan_crops(image.width, image.height, crop_size=vision.crop_size, max_crops=vision.max_crops)
            except ConfigError as error:
                raise ConfigError(f"--calibration {path}: {error}") from None


def read_own_files(paths: Iterable[str | Path]) -> CalibrationFiles:
    """Look into every file.

    Raises:
        ConfigError: One is missing, empty, too long, or neither text nor image nor audio.
    """
    texts: list[str] = []
    images: list[Path] = []
    recordings: list[Path] = []
    for path in map(Path, paths):
        text = _text(path)
        if text is not None:
            texts += [text[start : start + _PIECE] for start in range(0, len(text), _PIECE)]
        elif _is_image(path):
            images.append(path)
        else:
            recordings.append(path)
    return CalibrationFiles(texts=tuple(texts), images=tuple(images), recordings=tuple(recordings))


def _text(path: Path) -> str | None:
    """The content of a text file; None for other files: no image or audio file is UTF-8 without a zero byte."""
    with open_media(path, "calibration file") as stream:
        content = stream.read(_MOST_TEXT_BYTES + 1)
    if b"\0" in content:
        return None
    try:
        # The last letter may be cut where the file is longer than what was read.
        text = content.decode("utf-8", "ignore" if len(content) > _MOST_TEXT_BYTES else "strict")
    except UnicodeDecodeError:
        return None
    if len(content) > _MOST_TEXT_BYTES:
        if len(text.encode()) < _MOST_TEXT_BYTES - 3:  # more than that letter was dropped
            return None
        raise ConfigError(f"--calibration {path}: more than {_MOST_TEXT_BYTES:,} bytes of text; give a part of it")
    text = MEDIA_TAG.sub("", text)  # stands for an image or audio that only a request could bring along
    if not text.strip():
        raise ConfigError(f"--calibration {path}: holds nothing but white space; give a text, an image or audio")
    return text


def _is_image(path: Path) -> bool:
    """Whether it is one and not audio. Both are decoded whole: an export must not fail at its end."""
    try:
        load_image(path)
    except ConfigError as no_image:
        try:
            audio = load_audio(path)
        except ConfigError as no_audio:
            raise ConfigError(f"--calibration: neither UTF-8 text, nor {no_image}, nor {no_audio}") from None
        if len(audio.samples) > _MOST_AUDIO_S * audio.sample_rate_hz:
            raise ConfigError(
                f"--calibration {path}: over {_MOST_AUDIO_S} seconds of audio; give a part of it"
            ) from None
        return False
    return True
