"""Files that libsndfile cannot read, decoded by PyAV where it is installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephi.audio.containers.parts import DamagedAudioError, Part, Stream, TruncatedAudioError, UnsupportedAudioError
from edgephi.audio.containers.sizes import TOLERANCE_S


def is_av_there() -> bool:
    """Whether PyAV is installed."""
    try:
        import av  # noqa: F401, PLC0415 - an extra
    except ImportError:
        return False
    return True


@contextmanager
def open_av(part: Part) -> Iterator[Stream]:
    """Decode its first audio track; `num_samples` is 0 where the container does not state it.

    Raises:
        UnsupportedAudioError: PyAV is not installed, or knows no such codec.
        DamagedAudioError: The container is damaged.
    """
    try:
        import av  # noqa: PLC0415 - an extra; importing it takes a tenth of a second
    except ImportError:
        raise UnsupportedAudioError(part.what) from None
    try:
        container = av.open(part.view, mode="r", metadata_errors="ignore")
    except (av.FFmpegError, ValueError) as error:
        raise DamagedAudioError(f"{part.what}: {_reason(error)}") from None
    with container:
        if not container.streams.audio:
            raise DamagedAudioError(f"{part.what}, without an audio track")
        stream = container.streams.audio[0]
        duration_s = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0
        promised = round(duration_s * stream.rate)
        estimated = promised or round((container.duration or 0) * stream.rate / av.time_base)
        yield Stream(stream.rate, stream.channels, estimated, _blocks(container, stream, promised, av))


def _blocks(container: Any, stream: Any, promised: int, av: Any) -> Iterator[NDArray[np.float32]]:
    resampler, total = av.AudioResampler(format="fltp", rate=stream.rate), 0
    try:
        for frame in container.decode(stream):
            for changed in resampler.resample(frame):
                block = np.ascontiguousarray(changed.to_ndarray().T)
                total += len(block)
                yield block
    except av.FFmpegError as error:
        raise DamagedAudioError(_reason(error)) from None
    if promised - total > max(TOLERANCE_S * stream.rate, 4096):  # codecs' first and last frames are trimmed
        raise TruncatedAudioError(f"the header promises {promised:,} samples, {total:,} could be decoded")


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).rstrip(".").lower()
