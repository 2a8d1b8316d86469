"""An audio file of any length, decoded block by block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from edgephi.audio.containers.av_decoder import is_av_there, open_av
from edgephi.audio.containers.detection import plan
from edgephi.audio.containers.parts import DamagedAudioError, Part, Stream, TruncatedAudioError, UnsupportedAudioError
from edgephi.audio.containers.source import BytesSource, FileSource, Source
from edgephi.audio.limits import check_rate
from edgephi.audio.log_mel import SAMPLE_RATE_HZ
from edgephi.audio.resampling import resampled
from edgephi.base.errors import ConfigError
from edgephi.sources.source import media_name, open_media, silence_library_output

_BLOCK_VALUES = 1 << 20
_UNKNOWN_FRAMES = 1 << 62  # libsndfile reports its largest number then
_NO_FRAMES = 7  # libsndfile 1.2 then speaks of a missing file, having found an MP3 of no frames


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingFile:
    """An open file of any length, read block by block.

    Attributes:
        sample_rate_hz: As it was recorded; 16000 where parts of several rates are joined.
        num_channels: As it was recorded; of joined parts the most.
        num_samples: Of each channel, as the file's header has it; what `blocks` yields decides.
        blocks: float32 [n, num_channels] each, full scale 1.0, in order. Can be read once, while the file is open.
        notes: Remarks for the user on a file that is read whole, a line each.
    """

    sample_rate_hz: int
    num_channels: int
    num_samples: int
    blocks: Iterator[NDArray[np.float32]]
    notes: tuple[str, ...] = ()


def recording_notes(source: str | Path | bytes) -> tuple[str, ...]:
    """Remarks on a file that can be read whole, a line each; nothing is decoded.

    Raises:
        ConfigError: As `load_audio`, for what is seen without decoding.
    """
    with open_recording_file(source) as opened:
        return opened.notes


@contextmanager
def open_recording_file(source: str | Path | bytes) -> Iterator[RecordingFile]:
    """Open a file, or the bytes of one, that may be longer than a request can hold.

    Raises:
        ConfigError: As `load_audio`; damage further on is found when its block is read.
    """
    name = media_name(source, "audio")
    with open_media(source, "audio") as stream, ExitStack() as stack:
        content: Source = BytesSource(source) if isinstance(source, bytes) else FileSource(stream)
        with _named_errors(name, content):
            planned = plan(content)
            streams = [stack.enter_context(_open_part(part)) for part in planned.parts[:1]]
            streams += [_known_part(part) for part in planned.parts[1:]]
        for opened in streams:
            check_rate(opened.sample_rate_hz, name)
        rates = {opened.sample_rate_hz for opened in streams}
        hertz = rates.pop() if len(rates) == 1 else SAMPLE_RATE_HZ
        num_channels = max(opened.num_channels for opened in streams)
        yield RecordingFile(
            sample_rate_hz=hertz,
            num_channels=num_channels,
            num_samples=sum(-(-opened.num_samples * hertz // opened.sample_rate_hz) for opened in streams),
            blocks=_blocks(streams, hertz, num_channels, name, content),
            notes=tuple(f"{name}: {note}" for note in planned.notes),
        )


def _blocks(
    streams: list[Stream], hertz: int, num_channels: int, name: str, content: Source
) -> Iterator[NDArray[np.float32]]:
    """The parts one after another, at one rate and with as many channels each."""
    with _named_errors(name, content):
        for opened in streams:
            sources = np.arange(num_channels) % opened.num_channels  # a mono part is copied to every channel
            for block in resampled(opened.blocks, opened.sample_rate_hz, hertz, opened.num_channels):
                yield block if num_channels == opened.num_channels else block[:, sources]


@contextmanager
def _named_errors(name: str, content: Source) -> Iterator[None]:
    """Say in one line, with the file's name, why it cannot be read."""
    try:
        yield
    except TruncatedAudioError as error:
        reason = f"{name}: truncated; {error}: copy or record it again"
    except UnsupportedAudioError as error:
        reason = (
            f'{name}: {error}, which is read by an extra: pip install "edgephi[media]"; or convert it: '
            f"ffmpeg -i IN -ar 16000 -ac 1 OUT.wav"
        )
    except DamagedAudioError as error:
        reason = (
            f"{name}: cannot be decoded as audio ({error}); use WAV, FLAC, OGG or MP3 "
            "(ffmpeg -i IN -ar 16000 -ac 1 OUT.wav), or record it again if it is damaged"
        )
    else:
        if content.error is None:
            return
        reason = ""
    if content.error is not None:
        reason = f"{name}: cannot be read on ({content.error.strerror}); check the disk"
    raise ConfigError(reason)


def _known_part(part: Part) -> Stream:
    """Any but the first part: opened to know it and to be read, but not in between, because a chain may be long."""

    def blocks() -> Iterator[NDArray[np.float32]]:
        with _open_part(part) as again:
            yield from again.blocks

    with _open_part(part) as opened:
        return replace(opened, blocks=blocks())


@contextmanager
def _open_part(part: Part) -> Iterator[Stream]:
    part.view.seek(0)
    if part.decoder == "av":
        with open_av(part) as opened:
            yield opened
        return
    # libmpg123 comments on damage.
    quiet: AbstractContextManager[None] = silence_library_output() if part.what == "MP3" else nullcontext()
    descriptor = part.view.descriptor
    try:
        with quiet:
            file = soundfile.SoundFile(part.view if descriptor is None else descriptor, closefd=False)
    except soundfile.LibsndfileError as error:
        if part.what.startswith("CAF of") and is_av_there():
            with open_av(part) as opened:
                yield opened
            return
        reason = "no complete frame" if error.code == _NO_FRAMES else error.error_string.rstrip(".")
        raise DamagedAudioError(f"{part.what}: {reason}") from error
    with file:
        num_samples = min(file.frames, _UNKNOWN_FRAMES) if part.least_samples is None else part.least_samples
        yield Stream(file.samplerate, file.channels, num_samples, _samples(file, part))


def _samples(file: soundfile.SoundFile, part: Part) -> Iterator[NDArray[np.float32]]:
    """Blocks of samples; few enough to keep memory bounded.

    Raises:
        TruncatedAudioError: Fewer than the header promises.
    """
    size, total = max(1, _BLOCK_VALUES // file.channels), 0
    while True:
        try:
            with silence_library_output() if part.what == "MP3" else nullcontext():
                block = file.read(size, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise DamagedAudioError(f"{part.what}: {error.error_string.rstrip('.')}") from error
        if not len(block):
            break
        total += len(block)
        yield block
    promised = file.frames if part.least_samples is None else part.least_samples
    if total < promised:
        raise TruncatedAudioError(f"the header promises {promised:,} samples, {total:,} could be decoded")
    if part.what == "FLAC" and not part.view.is_nearly_read():
        raise DamagedAudioError("FLAC with something behind its end that is no FLAC: split it")
