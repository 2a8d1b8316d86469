"""A file, bytes or an array becomes one mono waveform at a rate that the model takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephi.audio.channel_choice import MIX, Channel, ChannelProbe, channel_weights
from edgephi.audio.limits import MAX_RATE_HZ, check_duration, check_rate
from edgephi.audio.log_mel import NARROW_RATE_HZ, SAMPLE_RATE_HZ, Waveform, log_mel, num_audio_rows
from edgephi.audio.mixing import mono
from edgephi.audio.mono_recording import MonoRecording, open_mono
from edgephi.audio.resampling import resampled
from edgephi.base.errors import ConfigError
from edgephi.sources.open_files import plain_source
from edgephi.sources.source import AudioSource, media_name

__all__ = ["AudioSource", "MonoRecording", "Waveform", "load_audio", "log_mel", "num_audio_rows", "open_mono"]

_BLOCK_VALUES = 1 << 20
_MIN_DURATION_S = 0.025
_MAX_CHANNELS = 32  # of an array; more means the axes are swapped


def load_audio(source: AudioSource, *, channel: Channel = MIX) -> Waveform:
    """Decode, mix to mono, and resample.

    Channels are averaged, unless what one holds would be lost in the average: see docs/audio.md.

    16 kHz and 8 kHz are kept. Any other rate from 8 kHz up is resampled to 16 kHz by soxr. This departs from the
    checkpoint's own extractor on purpose: that one divides the rate by a whole number and plays 44.1 kHz audio as if
    22.05 kHz were 16, so words come out slower and lower than they were spoken.

    Args:
        source: A path, the bytes or an open binary file of a WAV, FLAC, OGG (Vorbis, Opus), MP3, AIFF, AU, CAF or WebM
            (Opus) file, with the extra `media` also of others such as MP4; or `(samples, hertz)`: samples [n] or
            [n, channels], floating point with full scale 1.0, or int16, which is taken as 16-bit PCM (divided by
            32768). Other integer types are refused: their full scale is unknown.
        channel: `mix` of all, or the number of one from 1.

    Raises:
        ConfigError: The source is missing, not audio, truncated, empty, under 25 ms, sampled under 8 kHz, has NaN or
            infinite samples, or the array has another type or shape. The message names the source and the limit.
        CapacityError: Longer than the model's context, reported before it is decoded where the header states it.
    """
    source = plain_source(source, "audio")
    name = media_name(source, "audio")
    if isinstance(source, str | Path | bytes):
        with open_mono(source, channel) as opened:
            check_duration(opened.num_samples, opened.sample_rate_hz, name)
            waveform = _waveform(opened.blocks, opened.sample_rate_hz, name)
            return replace(waveform, notes=opened.notes)
    if not (isinstance(source, tuple) and len(source) == 2 and isinstance(source[0], np.ndarray)):
        raise ConfigError(
            f"audio is {_describe(source)}; give a path, the bytes of a file, or (samples, hertz) with a numpy array"
        )
    samples, hertz = source[0], _whole_hertz(source[1], name)
    check_rate(hertz, name)
    _check_array(samples, name)
    check_duration(len(samples), hertz, name)
    probe = ChannelProbe(
        sample_rate_hz=hertz,
        num_channels=1 if samples.ndim == 1 else samples.shape[1],
        name=name,
        open_blocks=lambda: nullcontext(_array_blocks(samples)),
    )
    return _waveform(mono(_array_blocks(samples), name, channel_weights(channel, probe)), hertz, name)


def _check_array(samples: NDArray[Any], name: str) -> None:
    if samples.ndim not in (1, 2):
        raise ConfigError(f"{name} has shape {list(samples.shape)}; samples are [n] or [n, channels]")
    if samples.ndim == 2 and not 1 <= samples.shape[1] <= _MAX_CHANNELS:
        raise ConfigError(
            f"{name} has shape {list(samples.shape)}, so {samples.shape[1]:,} channels; samples are [n, channels] with "
            f"at most {_MAX_CHANNELS}: transpose the array"
        )
    if samples.dtype != np.int16 and not np.issubdtype(samples.dtype, np.floating):
        raise ConfigError(
            f"{name} holds {samples.dtype}; samples are floating point with full scale 1.0, or int16: convert them"
        )


def _array_blocks(samples: NDArray[Any]) -> Iterator[NDArray[np.floating]]:
    """Blocks [n, channels] with full scale 1.0."""
    table = samples[:, None] if samples.ndim == 1 else samples
    size = _BLOCK_VALUES // table.shape[1]
    for start in range(0, len(table), size):
        block = table[start : start + size]
        if block.dtype == np.int16:
            block = block.astype(np.float32) / 32768
        yield block if block.dtype == np.float32 else block.astype(np.float64)


def _waveform(blocks: Iterator[NDArray[np.float32]], hertz: int, name: str) -> Waveform:
    """Resample across blocks, as if the audio were one piece."""
    target_hertz = hertz if hertz in (SAMPLE_RATE_HZ, NARROW_RATE_HZ) else SAMPLE_RATE_HZ
    parts = list(resampled(_of_right_length(blocks, hertz, name), hertz, target_hertz))
    return Waveform(_joined(parts), target_hertz)


def _of_right_length(blocks: Iterator[NDArray[np.float32]], hertz: int, name: str) -> Iterator[NDArray[np.float32]]:
    """The same blocks; raises at the block that makes them too long, and at the end of too few samples."""
    count = 0
    for block in blocks:
        count += len(block)
        check_duration(count, hertz, name)
        yield block
    if count < _MIN_DURATION_S * hertz:
        raise ConfigError(
            f"{name}: {count} samples at {hertz:,} Hz last {1000 * count / hertz:.1f} ms; the shortest audio is 25 ms: "
            "record longer"
        )


def _joined(parts: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """One array of all parts. Empties the list on the way, so that hours of samples are never held twice."""
    samples, end = np.empty(sum(map(len, parts)), np.float32), 0
    parts.reverse()
    while parts:
        part = parts.pop()
        samples[end : end + len(part)] = part
        end += len(part)
    return samples


def _whole_hertz(hertz: Any, name: str) -> int:
    numeric = isinstance(hertz, int | float | np.integer | np.floating) and not isinstance(hertz, bool)
    if isinstance(hertz, int) and abs(hertz) > 10**12:  # too large for a float, or even for a message
        raise ConfigError(f"{name}: the sampling rate is far above {MAX_RATE_HZ:,} Hz; record at 16,000 Hz")
    if not (numeric and float(hertz).is_integer()):
        raise ConfigError(f"{name}: the sampling rate is {hertz!r}; give a whole number of hertz, such as 16000")
    return int(hertz)


def _describe(source: object) -> str:
    if isinstance(source, tuple):
        return f"a tuple of {', '.join(type(item).__name__ for item in source)}"
    return f"a {type(source).__name__}"
