"""A sound file of any length, decoded block by block."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from edgephi.errors import ConfigError
from edgephi.media import media_name, open_media, unheard
from edgephi.sound_limits import check_rate

_BLOCK_VALUES = 1 << 20
#: libsndfile's log when a header promises more data than the file holds (WAV, AIFF, AU).
_SHORT_DATA = re.compile(r"(?:data|SSND|Data Size)\s*: (\d+) \(should be (\d+)\)")
_STREAMED_BYTES = 0x7FFFF000  # recorders that cannot seek leave at least this as a WAV's length
_UNKNOWN_FRAMES = 1 << 62  # libsndfile reports its largest number then, and cannot read in blocks
#: How WAV (also RF64, W64), AIFF, AU, CAF, FLAC, OGG and MP3 begin. libsndfile 1.2 knows a dozen more, of samplers and
#: lab computers; it takes damaged files of others for them, and its parser of SDS writes to standard output.
_BEGINNINGS = (b"RIFF", b"RIFX", b"RF64", b"riff", b"FORM", b".snd", b"dns.", b"caff", b"fLaC", b"OggS", b"ID3")
_NO_FRAMES = 7  # libsndfile 1.2 then speaks of a missing file, having found an MP3 of no frames


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
        num_channels: As it was recorded.
        num_samples: Of each channel, as the file's header has it; what `blocks` yields decides.
        blocks: float32 [n, num_channels] each, full scale 1.0, in order. Can be read once, while the file is open.
        notes: What the user should know of the file though it is read whole, a line each.
    """

    sample_rate_hz: int
    num_channels: int
    num_samples: int
    blocks: Iterator[NDArray[np.float32]]
    notes: tuple[str, ...] = ()


@contextmanager
def open_channels(source: str | Path | bytes) -> Iterator[Sound]:
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
                check_rate(sound.samplerate, name)
                _check_complete(sound, name)
                blocks = _file_blocks(sound, name, quiet)
                yield Sound(
                    sample_rate_hz=sound.samplerate,
                    num_channels=sound.channels,
                    num_samples=sound.frames,
                    blocks=blocks,
                )
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
