"""WebM as browsers record it: Opus in Matroska, with or without lengths."""

from __future__ import annotations

from edgephi.audio.containers.ebml import read_track
from edgephi.audio.containers.opus_pages import OpusPages
from edgephi.audio.containers.parts import DamagedAudioError, Part, UnsupportedAudioError, Walk
from edgephi.audio.containers.source import Source
from edgephi.audio.containers.view import View

_NAMES = {"A_VORBIS": "Vorbis", "A_AAC": "AAC", "A_MPEG/L3": "MP3", "A_FLAC": "FLAC", "A_AC3": "AC-3"}


def walk(source: Source, start: int) -> Walk:
    """The Opus packets of a WebM file that begins there.

    Raises:
        DamagedAudioError: No audio track, no packets, or truncated.
        UnsupportedAudioError: Its audio is not Opus.
    """
    track, end = read_track(source, start)
    if track.codec != "A_OPUS":
        raise UnsupportedAudioError(f"Matroska (WebM) with {_NAMES.get(track.codec, track.codec) or 'unknown'} audio")
    if not track.private.startswith(b"OpusHead"):
        raise DamagedAudioError("WebM whose Opus header is missing")
    pages = OpusPages(source, track.private, track.starts, track.sizes)
    if not pages.num_samples:
        raise DamagedAudioError("WebM without a packet of audio")
    notes = () if track.is_whole else ("it is damaged or was never finished; every whole packet was read",)
    return Walk(parts=(Part(view=View([pages]), what="WebM of Opus"),), end=end, notes=notes)
