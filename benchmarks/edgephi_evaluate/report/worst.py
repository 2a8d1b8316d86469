"""The worst answers of a suite, with their media as `data:` URLs, so that a page needs no other file."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import soundfile
from PIL import Image

from edgephi.base.errors import EdgeError
from edgephi_evaluate.metrics.metric import Metric
from edgephi_evaluate.readers.parquet import cell_named, read_cell
from edgephi_evaluate.runs.record import ItemRecord

MOST_ITEMS = 12
_MOST_SIDE = 720
_MOST_AUDIO_BYTES = 1_500_000
_QUALITY = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class PageMedia:
    """Media on a page: a `data:` URL, or why there is none."""

    kind: str
    url: str = ""
    words: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorstItem:
    """One answer and what it was about."""

    record: ItemRecord
    media: tuple[PageMedia, ...]


def worst_items(records: Sequence[ItemRecord], metric: Metric, count: int = MOST_ITEMS) -> tuple[WorstItem, ...]:
    """Those that cost the figure most: failures, then by their cost; none that are right.

    Args:
        records: Of a suite.
        metric: Of the suite.
        count: At most so many.
    """
    wrong = [record for record in records if record.error is not None or metric.cost(record.counts) > 0]
    wrong.sort(key=lambda record: (record.error is None, -metric.cost(record.counts), record.id))
    return tuple(WorstItem(record=one, media=tuple(map(_shown, one.media))) for one in wrong[:count])


def _shown(name: str) -> PageMedia:
    try:
        data = _read(name)
    except (EdgeError, OSError, LookupError):
        return PageMedia(kind="", words=f"{name}: not there any more")
    try:
        return PageMedia(kind="image", url=_image(data))
    except (OSError, ValueError):
        pass
    try:
        return _audio(data, name)
    except (OSError, RuntimeError):
        return PageMedia(kind="", words=f"{name}: a form that this page cannot show")


def _read(name: str) -> bytes:
    cell = cell_named(name)
    if cell is None:
        return Path(name).read_bytes()
    data = read_cell(cell)
    assert isinstance(data, bytes)  # a cell has no path
    return data


def _image(data: bytes) -> str:
    with Image.open(io.BytesIO(data)) as image:
        small = image.convert("RGB")
        small.thumbnail((_MOST_SIDE, _MOST_SIDE))
        stream = io.BytesIO()
        small.save(stream, "JPEG", quality=_QUALITY)
    return _url("image/jpeg", stream.getvalue())


def _audio(data: bytes, name: str) -> PageMedia:
    """As 16-bit WAV, which every browser plays."""
    samples, hertz = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    stream = io.BytesIO()
    soundfile.write(stream, samples[:, 0], hertz, format="WAV", subtype="PCM_16")
    made = stream.getvalue()
    if len(made) > _MOST_AUDIO_BYTES:
        return PageMedia(kind="", words=f"{name}: {len(samples) / hertz:.0f} s, too long for this page")
    return PageMedia(kind="audio", url=_url("audio/wav", made))


def _url(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
