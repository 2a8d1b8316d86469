"""Which container a file is, and all that is to be decoded of it: joined files are followed to the last."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgephi.audio.containers import aiff, au, caf, flac, mp3, ogg, riff, unsupported, webm
from edgephi.audio.containers.parts import DamagedAudioError, Part, UnsupportedAudioError, Walk
from edgephi.audio.containers.source import Source
from edgephi.audio.containers.tags import find_next_file, skip_tags
from edgephi.audio.containers.view import View, span
from edgephi.base import file_kind

_WALKERS: dict[bytes, Callable[[Source, int], Walk]] = {
    **dict.fromkeys(file_kind.RIFF, riff.walk),
    file_kind.W64: riff.walk_w64,
    file_kind.AIFF: aiff.walk,
    **dict.fromkeys(file_kind.AU, au.walk),
    file_kind.CAF: caf.walk,
    file_kind.FLAC: flac.walk,
    file_kind.OGG: ogg.walk,
    file_kind.MATROSKA: webm.walk,
}
_TRAILING_BYTES = 16  # fewer behind the end are no audio


@dataclass(frozen=True, slots=True)
class Plan:
    """All parts of a file in order, and remarks for the user, a clause each."""

    parts: tuple[Part, ...]
    notes: tuple[str, ...]


def plan(source: Source) -> Plan:
    """Walk a file, and the files that are joined to it.

    Raises:
        DamagedAudioError: It is no audio, or cannot be read whole.
        UnsupportedAudioError: A known container or codec that is not supported.
    """
    parts: list[Part] = []
    notes: list[str] = []
    start: int | None = _begin(source, 0)
    while start is not None:
        walked = _walk(source, start)
        parts += walked.parts
        notes += walked.notes
        start, note = _next(source, max(walked.end, start + 1))
        notes += note
    return Plan(tuple(parts), tuple(dict.fromkeys(notes)))


def _walk(source: Source, start: int) -> Walk:
    walker = _walker(source, start)
    name = None if walker not in (None, riff.walk) else unsupported.name_of(source, start)
    try:
        if name is not None:
            raise UnsupportedAudioError(name)
        if walker is None:
            raise DamagedAudioError("format not recognised")
        return walker(source, start)
    except UnsupportedAudioError as error:
        end = _unsupported_end(source, start, is_searched=walker is not None)
        view = View([span(source, start, end)])
        return Walk(parts=(Part(view=view, what=str(error), decoder="av"),), end=end)


def _unsupported_end(source: Source, start: int, *, is_searched: bool) -> int:
    if source.read_at(start + 4, 4) == b"ftyp":
        return unsupported.mp4_end(source, start)
    joined = find_next_file(source, start + 12, source.size) if is_searched else None
    return source.size if joined is None else joined


def _walker(source: Source, start: int) -> Callable[[Source, int], Walk] | None:
    """Who reads what begins there; MP3 frames may begin behind some damage."""
    if (walker := _WALKERS.get(source.read_at(start, 4))) is not None or _is_known(source, start):
        return walker or (None if unsupported.name_of(source, start) else mp3.walk)
    reach = min(source.size, start + mp3.REACH_BYTES)
    other = find_next_file(source, start, reach)
    return mp3.walk if mp3.first_frame(source, start, reach if other is None else other + 2) is not None else None


def _is_known(source: Source, start: int) -> bool:
    """Whether a file begins exactly there."""
    head = source.read_at(start, 4)
    return head in _WALKERS or unsupported.name_of(source, start) is not None or mp3.begins(source, start)


def _begin(source: Source, start: int) -> int:
    """Where a file may begin: there, or behind tags and zeros, with which some files begin themselves."""
    return start if _is_known(source, start) else skip_tags(source, start)


def _next(source: Source, end: int) -> tuple[int | None, list[str]]:
    """Where the next file begins behind the end of one, and what to say of what lies between; None without one."""
    start = _begin(source, end)
    if start >= source.size:
        return None, []
    if _walker(source, start) is not None or unsupported.name_of(source, start) is not None:
        return start, []
    found = find_next_file(source, start, source.size)
    count = (source.size if found is None else found) - start
    return found, [f"{count:,} bytes behind its end are no audio and were left out"] if count > _TRAILING_BYTES else []
