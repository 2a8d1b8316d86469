"""The requests that a calibration runs to find the ranges of keys and values: conversations, adapters and media.

adapters   texts                         media
none       alone                         -
routed     once with each adapter, none  an image, audio, both, by the model's own rule
merged     after an image or audio      the same, without which the folder takes no request
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from edgephi import Request
from edgephi.audio.features import AudioInput
from edgephi.base.version import package_version
from edgephi.bundle.manifest import Manifest
from edgephi.prompt.routing import AdapterChoice
from edgephi_export.calibration.examples import Example
from edgephi_export.calibration.samples import CalibrationFiles
from edgephi_export.calibration.texts import CONVERSATIONS

_HERTZ = 16_000
_LETTERING = ("Invoice 2047", "TOTAL 318.60", "OPEN 9-17", "Rue de la Paix", "50% off", "E = m c2")


def calibration_requests(manifest: Manifest, own: CalibrationFiles) -> tuple[Request, ...]:
    """Everything that a bundle is calibrated with."""
    mode = manifest.adapters.mode
    talks = [list(talk) for talk in CONVERSATIONS]
    texts = [_asked(text) for text in own.texts]
    if mode == "routed":
        adapters: list[AdapterChoice] = ["none", *(info.name for info in manifest.adapters.available)]
        every = [Request(m, adapter=name) for name in adapters for m in (*talks, *texts)]
    elif mode == "none":
        every = [Request(m) for m in (*talks, *texts)]
    else:
        media = _speech_like(1.0) if mode == "speech" else _image(manifest, 1)
        every = [_with(m, mode, media) for m in ([turn for talk in talks for turn in talk[-2:]], *texts)]
    return (*every, *_media_requests(manifest, own))


def builtin_examples(manifest: Manifest) -> tuple[Example, ...]:
    """Examples for owners who have none of their own: texts with answers, and requests with media without."""
    made = []
    if manifest.adapters.mode in ("routed", "none"):
        for talk in CONVERSATIONS:
            answer = talk[-1].get("content")
            made.append((Request(list(talk[:-1])), answer if isinstance(answer, str) else None))
    made += [(request, None) for request in _media_requests(manifest, CalibrationFiles())]
    return tuple(
        Example(
            name=f"built-in example {number}",
            request=request,
            answer=answer,
            digest=hashlib.sha256(f"{package_version()} {number}".encode()).hexdigest(),
        )
        for number, (request, answer) in enumerate(made, start=1)
    )


def _media_requests(manifest: Manifest, own: CalibrationFiles) -> Iterator[Request]:
    """Images and audio, ours and the user's."""
    images, audio = manifest.vision is not None, manifest.speech is not None
    if images:
        yield _with(_asked("Describe the picture, and read what is written in it."), "vision", _image(manifest, 2))
        for image in own.images:
            yield _with(_asked("What is in this picture?"), "vision", image)
    if audio and manifest.adapters.mode != "vision":
        for recording in (_speech_like(6.0), *own.recordings):
            yield _with(_asked("Transcribe the audio clip into text."), "speech", recording)
    if audio and images:
        recordings: list[AudioInput] = [
            _speech_like(4.0),
            *(own.recordings if manifest.adapters.mode == "vision" else ()),
        ]
        for recording in recordings:
            yield Request(_asked(""), images=(_image(manifest, 1),), audio=(recording,))


def _asked(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


def _with(messages: list[dict[str, Any]], kind: str, media: Any) -> Request:
    """A conversation whose last user turn has this image or audio before it."""
    if kind == "vision":
        return Request(messages, images=(media,))
    return Request(messages, audio=(media,))


def _image(manifest: Manifest, crops: int) -> Image.Image:
    """Colours that run into each other, noise, shapes and lettering: `crops` crops wide, one high."""
    side = manifest.vision.crop_size if manifest.vision is not None else 448
    x, y = np.meshgrid(np.linspace(0, 1, crops * side), np.linspace(0, 1, side))
    waves = [127 * (1 + np.sin(2 * np.pi * (f * x + g * y))) for f, g in ((1, 2), (3, -1), (0.5, 5))]
    noise = np.random.default_rng(1).normal(0, 12, (side, crops * side, 3))
    image = Image.fromarray(np.clip(np.stack(waves, axis=-1) + noise, 0, 255).astype(np.uint8))
    draw, unit = ImageDraw.Draw(image), side // 8
    for place, words in enumerate(_LETTERING):
        left, top = (place % 2) * crops * side // 2 + unit // 2, (place // 2) * side // 3 + unit // 2
        draw.rectangle((left, top, left + 3 * unit, top + unit), fill="white", outline="black")
        draw.text((left + 2, top + 2), words, fill="black", font_size=max(unit // 2, 8))
        draw.ellipse((left, top + unit, left + unit, top + 2 * unit), fill=("red", "navy", "black")[place % 3])
    return image


def _speech_like(seconds: float) -> tuple[NDArray[np.float32], int]:
    """Something like speech: pulses of a gliding pitch through moving formants, hisses, and pauses."""
    random, count = np.random.default_rng(2), int(seconds * _HERTZ)
    time = np.arange(count) / _HERTZ
    pitch = 140 + 40 * np.sin(2 * np.pi * 0.7 * time)
    phase = 2 * np.pi * np.cumsum(pitch) / _HERTZ
    voiced = np.zeros(count)
    for harmonic in range(1, 24):
        frequency = harmonic * pitch
        formants = (500 + 250 * np.sin(2 * np.pi * 1.3 * time), 1500 + 600 * np.sin(2 * np.pi * 0.9 * time), 2600.0)
        gain = sum(np.exp(-(((frequency - formant) / 180) ** 2)) for formant in formants)
        voiced += (gain + 0.02) * np.sin(harmonic * phase)
    hiss = random.normal(0, 0.5, count) * (np.sin(2 * np.pi * 2.1 * time) > 0.8)
    syllables = np.clip(np.sin(2 * np.pi * 3.5 * time) + 0.4, 0, 1) * (np.sin(2 * np.pi * 0.4 * time) > -0.7)
    samples = 0.2 * (voiced * syllables + hiss) + random.normal(0, 0.003, count)
    return np.clip(samples, -1, 1).astype(np.float32), _HERTZ
