"""Samples that come as bytes through a pipe, raw or behind a WAV header, and are decoded as they come."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import soundfile
from numpy.typing import NDArray

from edgephi.audio.channel_choice import MIX, Channel, single_channel_weights
from edgephi.audio.containers.sizes import is_placeholder
from edgephi.audio.limits import check_rate
from edgephi.audio.mixing import mono
from edgephi.base.errors import ConfigError

#: How samples are written, by ffmpeg's names: libsndfile's name and bytes of one.
ENCODINGS = {
    "s16le": ("PCM_16", 2),
    "s24le": ("PCM_24", 3),
    "s32le": ("PCM_32", 4),
    "f32le": ("FLOAT", 4),
    "f64le": ("DOUBLE", 8),
    "u8": ("PCM_U8", 1),
    "mulaw": ("ULAW", 1),
    "alaw": ("ALAW", 1),
}
MOST_CHANNELS = 32
#: By the tag and the bits of a WAV header.
_WAV_ENCODINGS = {
    (1, 8): "u8",
    (1, 16): "s16le",
    (1, 24): "s24le",
    (1, 32): "s32le",
    (3, 32): "f32le",
    (3, 64): "f64le",
    (6, 8): "alaw",
    (7, 8): "mulaw",
}
_EXTENSIBLE = 0xFFFE
_MOST_HEADER_BYTES = 1 << 20  # cover art and the like; more is no header

#: Waits for more bytes and returns them; none at the end.
Read = Callable[[], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class PcmFormat:
    """How samples stand in a stream of bytes.

    Attributes:
        encoding: One of ENCODINGS.
        sample_rate_hz: 8,000 to 768,000.
        num_channels: 1 to 32, interleaved.
    """

    encoding: str
    sample_rate_hz: int
    num_channels: int = 1

    def check(self, name: str) -> None:
        """Raise ConfigError for a format that cannot be used; `name` is the source's."""
        if self.encoding not in ENCODINGS:
            raise ConfigError(f"{name}: encoding is {self.encoding!r}; use one of {', '.join(ENCODINGS)}")
        check_rate(self.sample_rate_hz, name)
        if not 1 <= self.num_channels <= MOST_CHANNELS:
            raise ConfigError(f"{name}: has {self.num_channels} channels; 1 to {MOST_CHANNELS} can be used")

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of each channel."""
        return ENCODINGS[self.encoding][1] * self.num_channels

    def decode(self, content: bytes) -> NDArray[np.float32]:
        """float32 [n, num_channels] of whole frames; the same values as of a file."""
        if not content:
            return np.empty((0, self.num_channels), np.float32)
        samples, _ = soundfile.read(
            io.BytesIO(content),
            dtype="float32",
            always_2d=True,
            format="RAW",
            subtype=ENCODINGS[self.encoding][0],
            samplerate=self.sample_rate_hz,
            channels=self.num_channels,
            endian="LITTLE",
        )
        decoded: NDArray[np.float32] = samples
        return decoded


class PcmDecoder:
    """Decodes bytes that are cut anywhere, also within a sample.

    Args:
        form: Of the samples.
    """

    def __init__(self, form: PcmFormat) -> None:
        self._form = form
        self._rest = b""

    def push(self, content: bytes) -> NDArray[np.float32]:
        """float32 [n, num_channels], all that is whole by now."""
        joined = self._rest + content
        whole = len(joined) - len(joined) % self._form.frame_bytes
        self._rest = joined[whole:]
        return self._form.decode(joined[:whole])

    def clear(self) -> None:
        """Throw away the part of a sample that has come."""
        self._rest = b""


class PcmStream:
    """An open stream.

    Args:
        read: Gives the rest of its bytes.
        form: Of its samples.
        rest: Bytes of samples that have come already.
        size: Bytes of samples by its header, `rest` included; None for all that come.

    Attributes:
        form: Of its samples.
        missing_bytes: Samples that its header promises and that have not come; 0 where it promises none.
    """

    def __init__(self, read: Read, form: PcmFormat, rest: bytes = b"", size: int | None = None) -> None:
        self._read = read
        self._rest = rest
        self._is_sized = size is not None
        self.form = form
        self.missing_bytes = size or 0

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """float32 [n, num_channels] each, as they come, to the end of the samples. Can be read once."""
        decoder, content = PcmDecoder(self.form), self._rest or self._read()
        while content:
            if self._is_sized:
                content = content[: self.missing_bytes]
                self.missing_bytes -= len(content)
            yield decoder.push(content)
            if self._is_sized and not self.missing_bytes:
                return
            content = self._read()


@dataclass(frozen=True, slots=True)
class MonoStream:
    """One channel of a stream, or all as one.

    Attributes:
        stream: Where it comes from.
        blocks: float32 [n] each, full scale 1.0, as they come. Can be read once.
    """

    stream: PcmStream
    blocks: Iterator[NDArray[np.float32]]


def open_pcm_stream(read: Read, name: str, raw: PcmFormat | None = None, channel: Channel = MIX) -> MonoStream:
    """Open a stream of bytes; waits for its header.

    Args:
        read: Gives its bytes.
        name: For messages.
        raw: Of a stream without a header; None for a WAV, whose samples end where its header says or, where that was
            never finished, with the stream.
        channel: `mix` for the average of all, which can be no better choice before the rest has come, or the number of
            one, from 1.

    Raises:
        ConfigError: No WAV, or one that cannot be decoded as it comes; a format, rate or channel that cannot be used.
            Samples that cannot be audio are found when their block is read.
    """
    stream = PcmStream(read, raw) if raw is not None else _after_header(read, name)
    form = stream.form
    form.check(name)
    weights = None if channel == MIX else single_channel_weights(channel, form.num_channels, name)
    return MonoStream(stream, mono(stream.blocks(), name, weights))


def _after_header(read: Read, name: str) -> PcmStream:
    """The stream that begins with the samples of a WAV."""
    head = _Head(read, name)
    start = head.take(12)
    if start[:4] not in (b"RIFF", b"RF64") or start[8:] != b"WAVE":
        raise ConfigError(
            f"{name}: is no WAV; for raw samples give their rate with --rate 16000, for a compressed recording pipe "
            "`ffmpeg -i FILE -f wav -` or use `edgephi transcribe`"
        )
    form: PcmFormat | None = None
    while True:
        kind, size = struct.unpack("<4sI", head.take(8))
        if kind == b"data":
            if form is None:
                raise ConfigError(f"{name}: WAV without a format before its samples; write it again")
            return PcmStream(read, form, head.rest, None if is_placeholder(size) else size)
        content = head.take(size + size % 2)
        if kind == b"fmt ":
            form = _wav_format(content, name)


def _wav_format(content: bytes, name: str) -> PcmFormat:
    if len(content) < 16:
        raise ConfigError(f"{name}: WAV with a damaged format; write it again")
    tag, num_channels, rate, _, _, bits = struct.unpack("<HHIIHH", content[:16])
    if tag == _EXTENSIBLE and len(content) >= 26:
        (tag,) = struct.unpack("<H", content[24:26])
    encoding = _WAV_ENCODINGS.get((tag, bits))
    if encoding is None:
        raise ConfigError(
            f"{name}: WAV of format {tag:#x} with {bits} bits, which cannot be decoded as it comes; "
            "pipe it through `ffmpeg -i - -c:a pcm_s16le -f wav -`"
        )
    return PcmFormat(encoding=encoding, sample_rate_hz=rate, num_channels=num_channels)


class _Head:
    """The bytes before the samples."""

    def __init__(self, read: Read, name: str) -> None:
        self._read = read
        self._name = name
        self._count = 0
        self.rest = b""

    def take(self, count: int) -> bytes:
        """The next bytes, once they have come."""
        self._count += count
        if self._count > _MOST_HEADER_BYTES:
            raise ConfigError(f"{self._name}: no samples in the first {_MOST_HEADER_BYTES:,} bytes; write it again")
        while len(self.rest) < count:
            more = self._read()
            if not more:
                missing = "nothing came" if self._count == count and not self.rest else "it ended within its header"
                raise ConfigError(f"{self._name}: {missing}; check the command that writes the audio")
            self.rest += more
        taken, self.rest = self.rest[:count], self.rest[count:]
        return taken
