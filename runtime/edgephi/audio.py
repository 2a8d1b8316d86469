"""Audio in: a file, bytes or an array becomes one mono waveform.

Owns decoding, mixing to mono, resampling and the checks on what users hand in. Knows nothing about features, encoders
or prompts; `log_mel` and its waveform live in mel.py and are only handed on here.
"""

from __future__ import annotations

import io
import math
import os
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from edgephi.errors import CapacityError, ConfigError
from edgephi.media import media_name, open_media, unheard
from edgephi.mel import NARROW_RATE_HZ, SAMPLE_RATE_HZ, Waveform, log_mel, num_audio_rows

__all__ = ["AudioSource", "Sound", "Waveform", "load_audio", "log_mel", "num_audio_rows", "open_sound"]

#: A path, the bytes of a file, or (samples [n] or [n, channels], hertz).
AudioSource = str | Path | bytes | tuple[NDArray[Any], float]

#: The model's context, 131,072 positions of 80 ms: nothing longer can be heard in one request.
MAX_DURATION_S = 10_485
_MAX_RATE_HZ = 768_000
_MIN_DURATION_S = 0.025
_MAX_CHANNELS = 32  # of an array; more means the axes are swapped
_MAX_PEAK = 32.0
_BLOCK_VALUES = 1 << 20
#: libsndfile's log when a header promises more data than the file holds (WAV, AIFF, AU).
_SHORT_DATA = re.compile(r"(?:data|SSND|Data Size)\s*: (\d+) \(should be (\d+)\)")
_STREAMED_BYTES = 0x7FFFF000  # recorders that cannot seek leave at least this as a WAV's length
_UNKNOWN_FRAMES = 1 << 62  # libsndfile reports its largest number then, and cannot read in blocks
#: How WAV (also RF64, W64), AIFF, AU, CAF, FLAC, OGG and MP3 begin. libsndfile 1.2 knows a dozen more, of samplers and
#: lab computers; it takes damaged files of others for them, and its parser of SDS writes to standard output.
_BEGINNINGS = (b"RIFF", b"RIFX", b"RF64", b"riff", b"FORM", b".snd", b"dns.", b"caff", b"fLaC", b"OggS", b"ID3")
_NO_FRAMES = 7  # libsndfile 1.2 then speaks of a missing file, having found an MP3 of no frames


def load_audio(source: AudioSource) -> Waveform:
    """Decode, mix to mono by averaging, and resample.

    16 kHz and 8 kHz are kept. Any other rate from 8 kHz up is resampled to 16 kHz by soxr. This departs from the
    checkpoint's own extractor on purpose: that one divides the rate by a whole number and plays 44.1 kHz audio as if
    22.05 kHz were 16, so words come out slower and lower than they were spoken.

    Args:
        source: A path or the bytes of a WAV, FLAC, OGG (Vorbis, Opus), MP3, AIFF, AU or CAF file, or
            `(samples, hertz)`: samples [n] or [n, channels], floating point with full scale 1.0, or int16, which
            is taken as 16-bit PCM (divided by 32768). Other integer types are refused: their full scale is a guess.

    Raises:
        ConfigError: The source is missing, not audio, truncated, empty, under 25 ms, sampled under 8 kHz, has NaN or
            infinite samples, or the array has another type or shape. The message names the source and the limit.
        CapacityError: Longer than the model's context, said before it is decoded where the header tells.
    """
    name = media_name(source, "audio")
    if isinstance(source, str | Path | bytes):
        with open_sound(source) as sound:
            _check_duration(sound.num_samples, sound.sample_rate_hz, name)
            return _waveform(sound.blocks, sound.sample_rate_hz, name)
    if not (isinstance(source, tuple) and len(source) == 2 and isinstance(source[0], np.ndarray)):
        raise ConfigError(
            f"audio is {_describe(source)}; give a path, the bytes of a file, or (samples, hertz) with a numpy array"
        )
    samples, hertz = source[0], _whole_hertz(source[1], name)
    _check_rate(hertz, name)
    _check_array(samples, name)
    _check_duration(len(samples), hertz, name)
    return _waveform(_mono(_array_blocks(samples), name), hertz, name)


class _Bytes(io.BytesIO):
    """Bytes as a file for libsndfile, whose callbacks print what they raise."""

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """As a file does it, but a damaged header's impossible offset leaves the position as it is."""
        try:
            return super().seek(offset, whence)
        except (ValueError, OverflowError):
            return self.tell()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sound:
    """An open file of any length, read block by block.

    Attributes:
        sample_rate_hz: As it was recorded.
        num_samples: Of each channel, as the file's header has it; what `blocks` yields decides.
        blocks: float32 [n] each, mono, full scale 1.0, in order. Can be read once, while the file is open.
    """

    sample_rate_hz: int
    num_samples: int
    blocks: Iterator[NDArray[np.float32]]


@contextmanager
def open_sound(source: str | Path | bytes) -> Iterator[Sound]:
    """Open a file, or the bytes of one, that may be longer than a request can hold.

    Raises:
        ConfigError: As `load_audio`; damage further on is found when its block is read.
    """
    name = media_name(source, "audio")
    with open_media(source, "audio") as stream:
        # A descriptor, because libsndfile would take the name `speech.raw` for headerless samples.
        handle = _Bytes(source) if isinstance(source, bytes) else stream.fileno()
        first_bytes = source[:4] if isinstance(source, bytes) else os.pread(stream.fileno(), 4, 0)
        is_mp3 = first_bytes[:3] == b"ID3" or (first_bytes[:1] == b"\xff" and first_bytes[1:2] >= b"\xe0")
        if not (is_mp3 or first_bytes.startswith(_BEGINNINGS)):
            raise _undecodable(name, "format not recognised")
        quiet = unheard if is_mp3 else nullcontext  # libmpg123 comments on damage
        try:
            with quiet():
                sound = soundfile.SoundFile(handle, closefd=False)
            with sound:
                _check_rate(sound.samplerate, name)
                _check_complete(sound, name)
                blocks = _mono(_file_blocks(sound, name, quiet), name)
                yield Sound(sample_rate_hz=sound.samplerate, num_samples=sound.frames, blocks=blocks)
        except soundfile.LibsndfileError as error:
            reason = "no complete frame" if error.code == _NO_FRAMES else error.error_string.rstrip(".")
            raise _undecodable(name, reason) from error


def _undecodable(name: str, reason: str) -> ConfigError:
    return ConfigError(
        f"{name}: cannot be decoded as audio ({reason}); use WAV, FLAC, OGG or MP3, or record it again if it is damaged"
    )


def _check_complete(sound: soundfile.SoundFile, name: str) -> None:
    """Refuse a header that promises more than the file holds, or does not say how much that is."""
    found = _SHORT_DATA.search(sound.extra_info)
    if found and int(found[2]) < int(found[1]) < _STREAMED_BYTES:
        raise ConfigError(
            f"{name}: truncated; the header promises {int(found[1]):,} bytes of samples, the file has "
            f"{int(found[2]):,}: copy or record it again"
        )
    if sound.frames > _UNKNOWN_FRAMES:
        raise ConfigError(f"{name}: its header does not say how long it is, as in streamed FLAC; convert it to WAV")


def _file_blocks(
    sound: soundfile.SoundFile, name: str, quiet: Callable[[], AbstractContextManager[None]] = nullcontext
) -> Iterator[NDArray[np.float32]]:
    """Blocks of samples, float32 [n, channels]; few enough to keep memory bounded."""
    size, total = max(1, _BLOCK_VALUES // sound.channels), 0
    while True:
        with quiet():
            block = sound.read(size, dtype="float32", always_2d=True)
        if not len(block):
            break
        total += len(block)
        yield block
    if total < sound.frames:
        raise ConfigError(
            f"{name}: truncated; the header promises {sound.frames:,} samples, {total:,} could be decoded: "
            "copy or record it again"
        )


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


def _mono(blocks: Iterator[NDArray[np.floating]], name: str) -> Iterator[NDArray[np.float32]]:
    """The average of the channels, block by block."""
    count = 0
    for block in blocks:
        _check_values(block, count, name)
        count += len(block)
        yield (block @ np.full(block.shape[1], 1 / block.shape[1], block.dtype)).astype(np.float32)
    if count == 0:
        raise ConfigError(f"{name}: holds no samples; record it again, or copy it again if it should hold some")


def _waveform(blocks: Iterator[NDArray[np.float32]], hertz: int, name: str) -> Waveform:
    """Resample across blocks, as if the clip were one piece."""
    target_hertz = hertz if hertz in (SAMPLE_RATE_HZ, NARROW_RATE_HZ) else SAMPLE_RATE_HZ
    resampler = soxr.ResampleStream(hertz, target_hertz, 1, dtype="float32") if hertz != target_hertz else None
    parts, count = [], 0
    for block in blocks:
        count += len(block)
        _check_duration(count, hertz, name)
        parts.append(resampler.resample_chunk(block) if resampler else block)
    if count < _MIN_DURATION_S * hertz:
        raise ConfigError(
            f"{name}: {count} samples at {hertz:,} Hz last {1000 * count / hertz:.1f} ms; the shortest clip is 25 ms: "
            "record longer"
        )
    if resampler:
        parts.append(resampler.resample_chunk(np.empty(0, np.float32), last=True))
    return Waveform(_joined(parts), target_hertz)


def _joined(parts: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """One array of all parts. Empties the list on the way, so that hours of samples are never held twice."""
    samples, end = np.empty(sum(map(len, parts)), np.float32), 0
    parts.reverse()
    while parts:
        part = parts.pop()
        samples[end : end + len(part)] = part
        end += len(part)
    return samples


def _check_duration(count: int, hertz: int, name: str) -> None:
    if count > MAX_DURATION_S * hertz:
        raise CapacityError(
            f"{name}: its length is {math.ceil(count / hertz):,} s; longer than {MAX_DURATION_S:,} s is more than the "
            "model can hear at once: cut it into parts"
        )


def _check_rate(hertz: int, name: str) -> None:
    if not NARROW_RATE_HZ <= hertz <= _MAX_RATE_HZ:
        raise ConfigError(
            f"{name}: sampled at {hertz:,} Hz; the model hears {NARROW_RATE_HZ:,} to {_MAX_RATE_HZ:,} Hz: "
            "record at 16,000 Hz"
        )


def _whole_hertz(hertz: Any, name: str) -> int:
    numeric = isinstance(hertz, int | float | np.integer | np.floating) and not isinstance(hertz, bool)
    if isinstance(hertz, int) and abs(hertz) > 10**12:  # too large for a float, or even for a message
        raise ConfigError(f"{name}: the sampling rate is far above {_MAX_RATE_HZ:,} Hz; record at 16,000 Hz")
    if not (numeric and float(hertz).is_integer()):
        raise ConfigError(f"{name}: the sampling rate is {hertz!r}; give a whole number of hertz, such as 16000")
    return int(hertz)


def _check_values(block: NDArray[np.floating], start: int, name: str) -> None:
    peak = max(float(block.max()), -float(block.min()))
    if peak <= _MAX_PEAK:
        return
    if not np.isfinite(block).all():
        row, channel = np.argwhere(~np.isfinite(block))[0]
        raise ConfigError(
            f"{name}: sample {start + row:,} is {block[row, channel]}; samples must be finite: repair or re-record it"
        )
    raise ConfigError(
        f"{name}: peak is {peak:,.6g}; full scale is 1.0 and the limit {_MAX_PEAK:.0f}: "
        "divide 16-bit samples by 32768 or pass them as int16, or copy a damaged file again"
    )


def _describe(source: object) -> str:
    if isinstance(source, tuple):
        return f"a tuple of {', '.join(type(item).__name__ for item in source)}"
    return f"a {type(source).__name__}"
