"""The fixed requests whose logits a report keeps: the same text, image and audio on every machine and at any time."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from edgephi import Model
from edgephi.bundle.bundle import Bundle
from edgephi_bench.engines.fixed_logits import FixedLogits
from edgephi_bench.measure.modes import routes
from edgephi_bench.measure.text_tokens import text_tokens

_TEXT = "The fixed request of this benchmark: say what was seen, what was heard, and what seven times eight is."
_HERTZ, _SECONDS = 16_000, 1.5
_WIDTH, _HEIGHT = 320, 240
_KEPT = 64


def fixed_logits(model: Model, bundle: Bundle) -> list[dict[str, Any]]:
    """One `FixedLogits` for each mode that the model answers in, as JSON values."""
    text = text_tokens(bundle, _TEXT)
    found = []
    for route in routes(bundle.manifest):
        mode = "both" if route.has_images and route.has_audio else route.mode
        found.append(asdict(_ask(model, text, mode, (int(route.has_images), int(route.has_audio)))))
    return found


def _ask(model: Model, text: list[int], mode: str, media: tuple[int, int]) -> FixedLogits:
    """Logits after so many images and recordings, and the text."""
    num_images, num_audio = media
    tokens = model.manifest.tokens
    slots = [tokens.image] * num_images + [tokens.audio] * num_audio
    ids = [*(slot for slot in slots if slot is not None), *text]
    row = model.logits(ids, images=[_image()] * num_images, audio=[(_audio(), _HERTZ)] * num_audio)
    kept = np.unique(np.linspace(0, len(row) - 1, min(_KEPT, len(row))).astype(int)).tolist()
    return FixedLogits(
        mode=mode,
        token_ids=tuple(kept),
        logits=tuple(float(row[token_id]) for token_id in kept),
        deviation=float(row.std()),
        best_id=int(row.argmax()),
    )


def _image() -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Stripes and a disc: computed, so that nothing has to be shipped and no generator's version matters."""
    down, across = np.mgrid[0:_HEIGHT, 0:_WIDTH]
    stripes = (across // 16 + down // 24) % 2 * 160
    disc = ((across - 200) ** 2 + (down - 100) ** 2 < 60**2) * 95
    return np.stack([stripes + disc, across * 255 // _WIDTH, down * 255 // _HEIGHT], axis=-1).astype(np.uint8)


def _audio() -> np.ndarray[Any, np.dtype[np.float32]]:
    """Two tones that rise, one beside the other."""
    seconds = np.arange(int(_HERTZ * _SECONDS)) / _HERTZ
    low, high = (np.sin(2 * np.pi * (start + rise * seconds) * seconds) for start, rise in ((200, 150), (900, 400)))
    return np.asarray(0.2 * low + 0.1 * high, np.float32)
