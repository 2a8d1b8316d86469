"""Media files for tests that go through paths.

Owns their formats. Knows nothing about what reads them.
"""

from __future__ import annotations

from pathlib import Path

import soundfile
from PIL import Image

from support.signals import clip, picture


def write_picture(path: Path, width: int = 90, height: int = 60) -> Path:
    """A picture that is different for each file name."""
    Image.fromarray(picture(path.name, width, height)).save(path)
    return path


def write_clip(path: Path, seconds: float = 1.0, hertz: int = 16000) -> Path:
    """A clip that is different for each file name."""
    soundfile.write(path, clip(path.name, seconds, hertz), hertz)
    return path
