"""Media files for tests that go through paths, and the errors that they must end in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
from PIL import Image

from edgephi.base.errors import ConfigError
from support.signals import random_audio, random_image


def write_image(path: Path, width: int = 90, height: int = 60) -> Path:
    """An image that is different for each file name."""
    Image.fromarray(random_image(path.name, width, height)).save(path)
    return path


def write_recording(path: Path, seconds: float = 1.0, hertz: int = 16000) -> Path:
    """A recording that is different for each file name."""
    soundfile.write(path, random_audio(path.name, seconds, hertz), hertz)
    return path


def assert_refused(load: Callable[[Path], object], path: Path, data: bytes, message: str) -> None:
    """A file of this content is refused in one line that begins with its name: one of thousands must be found."""
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=message) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
